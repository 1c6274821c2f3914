"""Compare a folder of results with the truth: ``python -m scripts.evaluate_results --results out …``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .evaluation import MEASURES
from .shared.engines.terminal import run_command
from .shared.io.errors import CaseError
from .shared.spine.dataset import load_volume
from .shared.spine.evaluation import Measures, evaluation_cases
from .shared.spine.label_evaluation import label_figures, label_headline, summarize_labels

logger = logging.getLogger(__name__)
LABELS_ALONE = Measures(lambda result, pred, truth: label_figures(result, truth), summarize_labels, label_headline)


def result_row(results: Path, case: Mapping[str, str]) -> dict[str, Any] | None:
    """Row of a case of which there are results, else None.

    Args:
        results: folder with ``<case>_landmarks.json`` and ``<case>_segmentation.nii.gz``, named as in the table or
            after the image file.
        case: of :func:`~shared.spine.evaluation.evaluation_cases`.

    Raises:
        CaseError: for files that cannot be read.
    """
    file = Path(case["image"]).name
    stem = file.removesuffix(".gz").rsplit(".", 1)[0]
    for name in (case["case"], stem):
        landmarks, labels = results / f"{name}_landmarks.json", results / f"{name}_segmentation.nii.gz"
        if landmarks.is_file():
            result = json.loads(landmarks.read_text(encoding="utf-8"))
            if labels.is_file():  # it lies on the grid of the CT and is read faster
                pred = load_volume(labels, allow_constant=True)
                return MEASURES.row(case, pred, result, pred)
            return LABELS_ALONE.row(case, load_volume(Path(case["image"])), result, None)
    return None


def main(
    results: str, table: str, output_dir: str, split: str = "all", fold: int = 0, num_folds: int = 5, seed: int = 0
) -> None:
    """Write metrics.json and metrics.csv of a folder of results; a case without a result counts as missed.

    Args:
        results: folder that an inference or the pipeline has written.
        table: CSV of the cases with their label maps or body centres.
        output_dir: where the metrics go.
        split: "all", or "val" or "train" of a fold.
        fold, num_folds, seed: as in training.
    """
    folder = Path(results)
    cases = evaluation_cases(table, split, fold, num_folds, seed)
    rows = [row for case in cases if (row := result_row(folder, case)) is not None]
    if not rows:
        raise CaseError(folder, "holds no results of the cases in the table", "check the folder and the names")
    has_masks = any("per_vertebra" in row for row in rows)
    (MEASURES if has_masks else LABELS_ALONE).write(rows, output_dir, cases)


if __name__ == "__main__":
    run_command(main)
