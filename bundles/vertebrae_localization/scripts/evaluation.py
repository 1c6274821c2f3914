"""Measuring the named body centres of a CT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.data import MetaTensor

from .shared.spine.evaluation import Measures, Truth
from .shared.spine.label_evaluation import label_figures, label_headline, summarize_labels


def label_row(result: Mapping[str, Any] | None, pred: MetaTensor | None, truth: Truth) -> dict[str, Any]:
    """Figures of one case; a refused one has found nothing."""
    return label_figures(result, truth)


MEASURES = Measures(label_row, summarize_labels, label_headline)
report = MEASURES.report
