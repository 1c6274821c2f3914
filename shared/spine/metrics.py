"""Measures of the VerSe challenges, for body centres and for label maps.

Two modes. ``official`` is what the challenges' code does (Sekuboyina et al., Medical Image Analysis 2021): false
positives cost nothing, overlap and surface distances average over the vertebrae that both label maps have. ``strict``
counts what a reader sees: a false positive lowers the identification rate, a missed or invented vertebra has Dice 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance
from scipy import ndimage

from .labels import SPINE_NAMES, VERTEBRA_LABELS, craniocaudal_order

Mode = Literal["official", "strict"]
MODES: tuple[Mode, ...] = ("official", "strict")
RADII_MM = (4.0, 20.0)
FIGURES = ("dice", "iou", "hd", "hd95", "assd")


def check_mode(mode: str) -> None:
    """ValueError for an unknown mode."""
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: one of {', '.join(MODES)}")


def identified(
    found: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray], radius_mm: float = 20.0
) -> dict[int, bool]:
    """Whether each true vertebra was identified.

    A hit is a found centre to which the true centre of the same label is the nearest of all true centres, closer than
    the radius.

    Args:
        found, truth: label to (3,) mm in one frame.
        radius_mm: of a hit.
    """
    labels = list(truth)
    places = np.array([truth[label] for label in labels]).reshape(-1, 3)
    result = {}
    for label in labels:
        if label not in found:
            result[label] = False
            continue
        distances = np.linalg.norm(places - found[label], axis=1)
        nearest = int(distances.argmin())
        result[label] = labels[nearest] == label and bool(distances[nearest] < radius_mm)
    return result


def localization_metrics(
    found: Mapping[int, np.ndarray],
    truth: Mapping[int, np.ndarray],
    mode: Mode = "official",
    radii_mm: Sequence[float] = RADII_MM,
) -> dict[str, Any]:
    """Figures of the labelled body centres of one image.

    Args:
        found, truth: label to (3,) mm in one frame; vertebrae alone.
        mode: official: hits / true vertebrae; strict: hits / (true vertebrae + false positives).
        radii_mm: of the identification rates.

    Returns:
        ``vertebrae`` (true ones), ``missed`` and ``false_positives`` (labels of one side alone),
        ``hits_<r>mm`` and ``id_rate_<r>mm`` for each radius, ``mld_mm`` (mean distance of the labels of both sides, NaN
        where there is none), ``distances_mm`` (label to distance), ``all_identified`` (strict: every label right within
        the largest radius and none invented).

    Raises:
        ValueError: for an unknown mode.
    """
    check_mode(mode)
    distances = {
        label: float(np.linalg.norm(np.asarray(found[label]) - truth[label])) for label in truth if label in found
    }
    invented = [label for label in found if label not in truth]
    count = len(truth) + (len(invented) if mode == "strict" else 0)
    figures: dict[str, Any] = {
        "vertebrae": len(truth),
        "missed": len(truth) - len(distances),
        "false_positives": len(invented),
    }
    for radius in radii_mm:
        hits = sum(identified(found, truth, radius).values())
        figures[f"hits_{radius:g}mm"] = hits
        figures[f"id_rate_{radius:g}mm"] = hits / count if count else float("nan")
    figures["mld_mm"] = float(np.mean(list(distances.values()))) if distances else float("nan")
    figures["all_identified"] = not invented and all(identified(found, truth, max(radii_mm)).values())
    figures["distances_mm"] = {SPINE_NAMES[label]: distance for label, distance in distances.items()}
    return figures


def summarize_localization(cases: Sequence[Mapping[str, Any]], mode: Mode = "official") -> dict[str, Any]:
    """Figures over all images: rates of all vertebrae together and, as published, of the mean over images.

    Args:
        cases: of :func:`localization_metrics`.
        mode: the one they were measured in.
    """
    total = sum(case["vertebrae"] for case in cases)
    extra = sum(case["false_positives"] for case in cases) if mode == "strict" else 0
    summary: dict[str, Any] = {
        "images": len(cases),
        **{name: sum(case[name] for case in cases) for name in ("vertebrae", "missed", "false_positives")},
    }
    for name in [name for name in cases[0] if name.startswith("id_rate_")] if cases else []:
        hits = sum(case[name.replace("id_rate", "hits")] for case in cases)
        summary[name] = hits / (total + extra) if total + extra else float("nan")
        summary[f"{name}_mean"] = finite_mean([case[name] for case in cases])
    distances = [distance for case in cases for distance in case["distances_mm"].values()]
    summary["mld_mm"] = float(np.mean(distances)) if distances else float("nan")
    summary["mld_sd_mm"] = float(np.std(distances)) if distances else float("nan")
    summary["all_identified_rate"] = finite_mean([float(case["all_identified"]) for case in cases])
    return summary


def finite_mean(values: Sequence[float]) -> float:
    """Mean of the finite ones; NaN where there is none."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else float("nan")


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
    _, distances, _ = get_edge_surface_distance(
        torch.as_tensor(pred), torch.as_tensor(gt), spacing=tuple(float(s) for s in spacing), symmetric=True
    )
    there, back = (np.asarray(d, dtype=float) for d in distances)
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
