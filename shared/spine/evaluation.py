"""Measuring results of the vertebra pipeline against label maps and body centres.

A vertebra that an end of the scan cuts is neither demanded nor counted as invented: whether half of it should have been
found is a matter of taste. Everything else is the VerSe metrics, official and strict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from scipy import ndimage

from ..evaluation.reports import CaseReport, write_metrics
from ..geometry.grids import volume_affine
from .body import body_centres
from .case_keys import ORIGINAL
from .centroids import read_centroids
from .dataset import load_volume, spine_datalist
from .field_of_view import CUT_MM, FieldOfView
from .labels import VERTEBRA_LABELS

VERTEBRAE = frozenset(VERTEBRA_LABELS.values())


def evaluation_cases(
    table: str, split: str = "val", fold: int = 0, num_folds: int = 5, seed: int = 0
) -> list[dict[str, str]]:
    """Cases of a table as ``find_cases`` gives them, with the paths of their truth (empty where there is none).

    Args:
        table: CSV of the cases.
        split: "train", "val" (of the fold) or "all".
        fold, num_folds, seed: as in training.

    Raises:
        CaseError: as :func:`~shared.spine.dataset.spine_datalist`.
    """
    return [
        {
            "image": str(item["files"].image),
            "case": item["case"],
            "mask": str(item["files"].mask or ""),
            "centroids": str(item["files"].centroids or ""),
        }
        for item in spine_datalist(table, split, fold, num_folds, seed)
    ]


@dataclass(frozen=True)
class Truth:
    """What is known about a case.

    Attributes:
        centres: label to body centre (3,) RAS mm, of vertebrae that the scan shows whole along its axis.
        cut: those of cut ones.
        labels: (1, X, Y, Z) label map, or None.
    """

    centres: dict[int, np.ndarray]
    cut: dict[int, np.ndarray]
    labels: MetaTensor | None


def read_truth(case: Mapping[str, str], volume: MetaTensor) -> Truth:
    """The truth of a case.

    Args:
        case: with "mask" and "centroids" as :func:`evaluation_cases` gives them.
        volume: (1, X, Y, Z) the CT, or any image on its grid.

    Raises:
        CaseError: for files that cannot be read.
    """
    view = FieldOfView(volume_affine(volume), volume.shape[1:])
    labels, reaching = None, set()
    if case["mask"]:
        labels = load_volume(Path(case["mask"]), allow_constant=True)
        array = labels.as_tensor()[0].numpy().astype(np.int16)
        axis = FieldOfView(volume_affine(labels), array.shape).axial
        for label, box in enumerate(ndimage.find_objects(array), start=1):
            if box is not None and (box[axis].start == 0 or box[axis].stop == array.shape[axis]):
                reaching.add(label)
    if case["centroids"]:
        found = read_centroids(case["centroids"], volume)
    else:
        assert labels is not None  # the table demands one of both
        found = body_centres(labels.as_tensor()[0].numpy().astype(np.int16), volume_affine(labels))
    centres = {label: point for label, point in found.items() if label in VERTEBRAE and view.sees(point)}
    cut = {
        label
        for label, point in centres.items()
        if label in reaching or (labels is None and float(view.end_depth_mm(point)) < CUT_MM)
    }
    return Truth(
        {label: point for label, point in centres.items() if label not in cut},
        {label: centres[label] for label in cut},
        labels,
    )


def finite_mean(values: Sequence[float]) -> float:
    """Mean of the finite ones; NaN where there is none."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else float("nan")


@dataclass(frozen=True)
class Measures:
    """What a bundle measures on its results.

    Attributes:
        figures: figures of one case from its result document and its label map, each None where there is none, and the
            truth.
        summarize: the figures over all rows, and further entries of metrics.json.
        headline: the main ones of the summary in words.
    """

    figures: Callable[[Mapping[str, Any] | None, MetaTensor | None, Truth], dict[str, Any]]
    summarize: Callable[[Sequence[Mapping[str, Any]]], tuple[dict[str, Any], dict[str, Any]]]
    headline: Callable[[Mapping[str, Any]], str]

    def row(
        self, case: Mapping[str, str], volume: MetaTensor, result: Mapping[str, Any] | None, pred: MetaTensor | None
    ) -> dict[str, Any]:
        """Row of one case.

        Args:
            case: of :func:`evaluation_cases`.
            volume: its CT.
            result: document of the case; None where it was refused.
            pred: its label map; None where there is none.
        """
        truth = read_truth(case, volume)
        return {"case": case["case"], "failed": result is None} | self.figures(result, pred, truth)

    def measure(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Row of one case of an evaluator, input and output in one: what inference makes of it against its truth."""
        case = {name: str(item[name]) for name in ("case", "image", "mask", "centroids")}
        return self.row(case, item[ORIGINAL], item["result"], item["pred"])

    def write(self, rows: Sequence[Mapping[str, Any]], output_dir: str, cases: Sequence[Mapping[str, str]]) -> None:
        """Write metrics.json and metrics.csv of all cases; those that were refused count as missed altogether.

        Args:
            rows: of cases that were measured.
            output_dir: folder.
            cases: all that were to be measured.
        """
        done = {row["case"] for row in rows}
        refused = [case for case in cases if case["case"] not in done]
        missed = [self.row(case, load_volume(Path(case["image"])), None, None) for case in refused]
        everything = sorted([*rows, *missed], key=lambda row: str(row["case"]))
        summary, more = self.summarize(everything)
        counts = {"cases": len(everything), "failed": sum(bool(row["failed"]) for row in everything)}
        write_metrics(output_dir, everything, counts | summary, **more)
        print(f"{counts['cases']} cases ({counts['failed']} refused): {self.headline(summary)}")

    def report(self, output_dir: str, cases: Sequence[Mapping[str, str]]) -> CaseReport:
        """The handler that measures every case of an evaluator and writes the report at the end."""
        return CaseReport(self.measure, partial(self.write, output_dir=output_dir, cases=cases))
