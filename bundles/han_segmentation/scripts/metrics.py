"""How well organs are found: volumetric Dice, distances of the surfaces, volumes; and the slice-wise figure of old.

Rule for empty pairs: an organ that was not contoured in a case is not measured there (NaN). One that was contoured but
not found has Dice 0, surface Dice 0, an infinite HD95 (counted as "missed", not averaged) and volume error -100 %. One
that is contoured as known to be absent, with no voxel in both, is not measured either; found all the same, it has
Dice 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .shared.evaluation.surfaces import surface_distances

Array = np.ndarray


def organ_dice(found: Array, truth: Array, known: Array) -> Array:
    """Volumetric Dice (30,) float64 of label maps of equal shape; NaN for organs that are not known, or empty twice.

    Args:
        found, truth: labels, 0 for the background.
        known: (K,) bool, background first.
    """
    count = len(known)
    found, truth = found.ravel().astype(np.int64), truth.ravel().astype(np.int64)
    sizes = np.bincount(found, minlength=count) + np.bincount(truth, minlength=count)
    both = np.bincount(found[found == truth], minlength=count)
    with np.errstate(invalid="ignore"):
        scores = 2 * both / np.where(sizes > 0, sizes, np.nan)
    return np.where(known, scores, np.nan)[1:count]


@dataclass(frozen=True)
class OrganFigures:
    """Figures of one organ in one case.

    Attributes:
        dice: volumetric.
        surface_dice: share of both surfaces that lies within the tolerance of the other.
        hd95_mm: 95th percentile of the distances of the surfaces, the larger of both directions; infinite if missed.
        volume_error_percent: found minus true, over true.
        volume_ml: true.
    """

    dice: float
    surface_dice: float
    hd95_mm: float
    volume_error_percent: float
    volume_ml: float


def mask_figures(found: Array, truth: Array, spacing_mm: Sequence[float], tolerance_mm: float = 2.0) -> OrganFigures:
    """Figures of one organ.

    Args:
        found, truth: bool (X, Y, Z).
        spacing_mm: along each axis.
        tolerance_mm: of the surface Dice.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    a, b = int(found.sum()), int(truth.sum())
    if b == 0:
        missing = float("nan")
        return OrganFigures(0.0 if a else missing, 0.0 if a else missing, float("inf") if a else missing, missing, 0.0)
    if a == 0:
        return OrganFigures(0.0, 0.0, float("inf"), -100.0, b * voxel_ml)
    ways = surface_distances(found, truth, spacing_mm)
    close = sum(int((way <= tolerance_mm).sum()) for way in ways) / sum(len(way) for way in ways)
    return OrganFigures(
        2 * int((found & truth).sum()) / (a + b),
        close,
        max(float(np.percentile(way, 95)) for way in ways),
        100 * (a - b) / b,
        b * voxel_ml,
    )


def slice_wise_dice(found: Array, truth: Array, epsilon: float = 1e-6) -> float:
    """Mean over slices of a Dice with an epsilon on both sides of the fraction: **not** a measure of quality.

    An empty prediction on an empty slice scores 1, so that predicting nothing at all scores the better the fewer slices
    an organ has. Kept to be comparable with figures that were published this way.

    Args:
        found, truth: bool (X, Y, Z); slices along the last axis.
    """
    both = (found & truth).sum(axis=(0, 1))
    sizes = found.sum(axis=(0, 1)) + truth.sum(axis=(0, 1))
    return float(((2 * both + epsilon) / (sizes + epsilon)).mean())
