"""Placing a labelled chain of vertebrae anew: all heatmaps and the usual steps between neighbours at once.

The highest point of a heatmap jumps where a network confuses neighbours; what all heatmaps say along the spine does
not. The spine is followed through the sum of the heatmaps, each heatmap becomes a profile along it, and the best
positions of the whole chain are found by dynamic programming (Viterbi) with the lengths of the steps as costs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from monai.data import MetaTensor
from scipy import ndimage

from ..geometry.frames import transform_points
from ..geometry.grids import volume_affine
from .candidates import CHANNELS
from .statistics import SpineStatistics

AROUND = 5  # voxels to either side of the rough spine in which it is looked for
REACH = 2  # voxels of a heatmap to either side of the spine that count
FINE = 2  # positions per voxel along the spine
STEP_SD = 0.12  # of a step, as a share of its length
STEP_WEIGHT = 0.25  # cost of one standard deviation squared, in heights of a clear peak
AGREE_MM = 3.0
FARTHEST_MM = 14.0  # how far a vertebra moves
BEYOND_MM = 45.0  # how far beyond the chain the spine is followed


def follow_spine(total: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Index (Z, 2) of the spine in x and y at each height.

    Args:
        total: (X, Y, Z) sum of all heatmaps.
        guess: (Z, 2) about where it is; only its surroundings count.
    """
    sums, mass = np.zeros((total.shape[2], 2)), np.zeros(total.shape[2])
    for z, (x, y) in enumerate(np.round(guess).astype(int)):
        low = np.clip([x - AROUND, y - AROUND], 0, None)
        weights = np.clip(total[low[0] : max(0, x + AROUND + 1), low[1] : max(0, y + AROUND + 1), z], 0, None) ** 2
        if weights.size:
            index = np.moveaxis(np.indices(weights.shape), 0, -1) + low
            sums[z], mass[z] = (index * weights[..., None]).sum(axis=(0, 1)), weights.sum()
    floor = 0.05 * mass.max() + 1e-12  # where hardly anything is seen the guess counts
    sums, mass = sums + floor * guess, mass + floor
    return ndimage.gaussian_filter1d(sums, 1.0, axis=0) / ndimage.gaussian_filter1d(mass, 1.0)[:, None]


def spine_profiles(heatmaps: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Highest value (K, Z) of each heatmap (K, X, Y, Z) near the spine (Z, 2) at each height."""
    profiles = np.empty((heatmaps.shape[0], heatmaps.shape[3]), dtype=np.float32)
    for z, (x, y) in enumerate(np.round(curve).astype(int)):
        window = heatmaps[:, max(0, x - REACH) : x + REACH + 1, max(0, y - REACH) : y + REACH + 1, z]
        profiles[:, z] = window.max(axis=(1, 2)) if window.size else 0.0
    return profiles


def place_chain(
    profiles: np.ndarray, places: np.ndarray, steps_mm: np.ndarray, weight: float = STEP_WEIGHT
) -> tuple[list[int], float]:
    """Best positions of a chain from head to foot.

    Args:
        profiles: (N, Z) one per vertebra, scaled so that a clear peak is 1, heights in rising order.
        places: (Z, 3) in mm of these heights.
        steps_mm: (N - 1,) expected lengths of the steps.
        weight: cost of one standard deviation squared.

    Returns:
        index of each vertebra, and the score.
    """
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    below = np.arange(len(places))[:, None] > np.arange(len(places))[None]  # [upper, lower]
    best, came = profiles[0].astype(float), []
    for profile, step in zip(profiles[1:], steps_mm, strict=True):
        cost = np.where(below, weight * ((distance - step) / (STEP_SD * step)) ** 2, np.inf)
        through = best[:, None] - cost
        came.append(through.argmax(axis=0))
        best = through.max(axis=0) + profile
    index = [int(best.argmax())]
    for source in reversed(came):
        index.insert(0, int(source[index[0]]))
    return index, float(best.max())


def refine_points(
    heatmaps: MetaTensor, points: Mapping[int, np.ndarray], statistics: SpineStatistics, peak: float
) -> dict[int, np.ndarray]:
    """Positions of labelled vertebrae by all their heatmaps together.

    Args:
        heatmaps: (27, x, y, z) with their affine along the patient's axes.
        points: label to (3,) RAS mm, from head to foot.
        statistics: of the steps.
        peak: height of a clear detection.

    Returns:
        label to (3,) RAS mm in the same order; the points themselves where there are fewer than three.
    """
    labels = list(points)
    if len(labels) < 3:
        return dict(points)
    affine, values = volume_affine(heatmaps), heatmaps.as_tensor().float().cpu().numpy()
    heights = affine[2, 3] + affine[2, 2] * np.arange(values.shape[3])
    ends = [float(points[labels[-1]][2]) - BEYOND_MM, float(points[labels[0]][2]) + BEYOND_MM]
    first, last = np.searchsorted(heights, ends)
    values, start = values[..., first:last], first
    inverse = np.linalg.inv(affine)
    rough = transform_points(inverse, list(points.values()))[::-1]
    guess = [np.interp(np.arange(first, last), rough[:, 2], rough[:, axis]) for axis in (0, 1)]
    curve = follow_spine(values.clip(min=0).sum(axis=0), np.stack(guess, axis=1))
    profiles = spine_profiles(values, curve)
    fine = np.arange(0, curve.shape[0] - 1 + 1e-6, 1 / FINE)
    index = np.stack(
        [np.interp(fine, np.arange(len(curve)), curve[:, axis]) for axis in (0, 1)] + [fine + start], axis=1
    )
    places = transform_points(affine, index)
    own = np.stack([np.interp(fine, np.arange(len(curve)), profiles[CHANNELS.index(label)]) for label in labels]) / peak
    usual = np.array(
        [np.linalg.norm(statistics.step(a, b).mean_mm) for a, b in zip(labels[:-1], labels[1:], strict=True)]
    )
    found = np.array([points[label] for label in labels])
    lengths = np.linalg.norm(np.diff(found, axis=0), axis=1)
    far = np.linalg.norm(places[None] - found[:, None], axis=-1) > FARTHEST_MM
    chosen, score = place_chain(np.where(far, -np.inf, own), places, lengths.sum() / usual.sum() * usual)
    if not np.isfinite(score):  # the rough spine leaves the heatmaps
        return dict(points)
    refined = {label: places[position] for label, position in zip(labels, chosen, strict=True)}
    # a peak that agrees is more exact than the grid of the profiles
    agrees = {label: np.linalg.norm(refined[label] - points[label]) < AGREE_MM for label in labels}
    return {label: np.asarray(points[label] if agrees[label] else refined[label]) for label in labels}
