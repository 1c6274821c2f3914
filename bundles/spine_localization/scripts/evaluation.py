"""Measuring the region of the spine: does its box hold the vertebrae, and is its centroid where they are?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import MetaTensor

from .shared.geometry.frames import lps_to_ras
from .shared.spine.evaluation import Measures, Truth, finite_mean

BOX_MARGIN_MM = 10.0  # by which a body centre may lie outside of the box of the spine


def region_figures(result: Mapping[str, Any] | None, pred: MetaTensor | None, truth: Truth) -> dict[str, Any]:
    """Figures of the region of the spine: body centres in its box, distance of its centroid from their mean.

    Across the body the centroid has to be right for the crop of the next stage; along it, it depends on how much of the
    sacrum and of cut vertebrae is seen.
    """
    everything = np.array(list((truth.centres | truth.cut).values())).reshape(-1, 3)
    if result is None or not len(everything):
        return {"centroid_error_mm": float("nan"), "centroid_error_across_mm": float("nan"), "inside_box": 0.0}
    centroid = lps_to_ras([result["centroid"][axis] for axis in "xyz"])
    ends = lps_to_ras([[result["box"][end][axis] for axis in "xyz"] for end in ("low", "high")])
    low, high = ends.min(axis=0) - BOX_MARGIN_MM, ends.max(axis=0) + BOX_MARGIN_MM
    inside = ((everything >= low) & (everything <= high)).all(axis=1)
    offset = centroid - everything.mean(axis=0)
    return {
        "centroid_error_mm": float(np.linalg.norm(offset)),
        "centroid_error_across_mm": float(np.linalg.norm(offset[:2])),
        "inside_box": float(inside.mean()),
    }


def summarize(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures over all cases."""
    errors = [row["centroid_error_mm"] for row in rows]
    finite = [error for error in errors if np.isfinite(error)]
    summary = {
        "centroid_error_mean_mm": finite_mean(errors),
        "centroid_error_max_mm": max(finite, default=float("nan")),
        "centroid_error_across_mean_mm": finite_mean([row["centroid_error_across_mm"] for row in rows]),
        "inside_box": finite_mean([row["inside_box"] for row in rows]),
    }
    return summary, {}


def headline(summary: Mapping[str, Any]) -> str:
    """The main figures in one line."""
    return (
        f"centroid {summary['centroid_error_mean_mm']:.1f} mm off, "
        f"{summary['centroid_error_across_mean_mm']:.1f} mm of it across the body, "
        f"{summary['inside_box']:.1%} of the vertebrae in the box"
    )


MEASURES = Measures(region_figures, summarize, headline)
report = MEASURES.report
