"""Overlap and surface distances of label maps, vertebra by vertebra, in the two modes of the VerSe measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .shared.evaluation.surfaces import surface_distances
from .shared.spine.labels import SPINE_NAMES, VERTEBRA_LABELS, craniocaudal_order
from .shared.spine.localization_metrics import Mode, check_mode

FIGURES = ("dice", "iou", "hd", "hd95", "assd")


def label_boxes(array: np.ndarray, labels: Sequence[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """First index and last index plus one (D,) of each label that occurs in a map of whole numbers."""
    whole = array if array.dtype.kind in "iu" else np.round(array).astype(np.int16)
    found = dict(enumerate(ndimage.find_objects(whole), start=1))
    boxes = {}
    for label in labels:
        if (box := found.get(label)) is not None:
            boxes[label] = (np.array([part.start for part in box]), np.array([part.stop for part in box]))
    return boxes


def overlap_figures(pred: np.ndarray, gt: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """Dice, IoU, Hausdorff distance, its 95th percentile and the average symmetric surface distance of two masks.

    Surfaces and their distances are MONAI's; as there, HD95 is the larger of the two directed percentiles and ASSD the
    mean over the voxels of both surfaces.

    Args:
        pred, gt: bool of one shape, both with some voxel.
        spacing: mm per voxel along the axes.
    """
    common = int((pred & gt).sum())
    total = int(pred.sum()) + int(gt.sum())
    there, back = surface_distances(pred, gt, spacing)
    return {
        "dice": 2 * common / total,
        "iou": common / (total - common),
        "hd": float(max(there.max(), back.max())),
        "hd95": float(max(np.quantile(there, 0.95), np.quantile(back, 0.95))),
        "assd": float(np.concatenate([there, back]).mean()),
    }


class VerSeMetrics:
    """Overlap and surface distances of label maps, vertebra by vertebra.

    Args:
        spacing: mm per voxel along the axes of the arrays, in their order.
        mode: official: means over the vertebrae that both maps have; strict: over those that either has, Dice and IoU 0
            where one is missing (surface distances stay those of the vertebrae that both have).
        labels: that are compared; all vertebrae, without sacrum and coccyx, where None.

    Raises:
        ValueError: for an unknown mode.
    """

    def __init__(
        self,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        mode: Mode = "official",
        labels: Sequence[int] | None = None,
    ) -> None:
        check_mode(mode)
        self.spacing, self.mode = tuple(float(value) for value in spacing), mode
        self.labels = craniocaudal_order(VERTEBRA_LABELS.values() if labels is None else labels)

    def evaluate_case(self, pred: np.ndarray, gt: np.ndarray) -> dict[str, Any]:
        """Compare two label maps.

        Args:
            pred, gt: whole numbers (three axes, one shape) in the official labels.

        Returns:
            ``per_vertebra``: name to ``dice``, ``iou``, ``hd``, ``hd95``, ``assd`` (mm), ``voxels_pred``, ``voxels_gt``
            for every vertebra of either map, Dice and IoU 0 and distances NaN where one lacks it; ``aggregate``:
            ``<figure>_mean`` and ``<figure>_sd``, ``vertebrae``, ``missed``, ``false_positives``.

        Raises:
            ValueError: when the shapes differ.
        """
        pred, gt = np.asarray(pred), np.asarray(gt)
        if pred.shape != gt.shape or gt.ndim != len(self.spacing):
            raise ValueError(f"label maps of shapes {pred.shape} and {gt.shape}, spacing of {len(self.spacing)} axes")
        boxes, own = label_boxes(gt, self.labels), label_boxes(pred, self.labels)
        rows: dict[str, dict[str, float]] = {}
        for label in self.labels:
            if label not in boxes and label not in own:
                continue
            lows, highs = zip(*[where[label] for where in (boxes, own) if label in where], strict=True)
            box = tuple(slice(a, b) for a, b in zip(np.min(lows, axis=0), np.max(highs, axis=0), strict=True))
            pair = pred[box] == label, gt[box] == label
            if label in boxes and label in own:
                figures = overlap_figures(*pair, self.spacing)
            else:
                figures = {"dice": 0.0, "iou": 0.0, "hd": float("nan"), "hd95": float("nan"), "assd": float("nan")}
            rows[SPINE_NAMES[label]] = figures | {"voxels_pred": int(pair[0].sum()), "voxels_gt": int(pair[1].sum())}
        return {"per_vertebra": rows, "aggregate": self.aggregate(rows.values())}

    def aggregate(self, rows: Any) -> dict[str, float]:
        """Means and standard deviations over vertebrae, of one image or of several."""
        rows = list(rows)
        both = [row for row in rows if row["voxels_pred"] and row["voxels_gt"]]
        counted = rows if self.mode == "strict" else both
        result: dict[str, float] = {
            "vertebrae": sum(row["voxels_gt"] > 0 for row in rows),
            "missed": sum(row["voxels_pred"] == 0 for row in rows),
            "false_positives": sum(row["voxels_gt"] == 0 for row in rows),
        }
        for name in FIGURES:
            values = [row[name] for row in (counted if name in ("dice", "iou") else both)]
            result[f"{name}_mean"] = float(np.mean(values)) if values else float("nan")
            result[f"{name}_sd"] = float(np.std(values)) if values else float("nan")
        return result
