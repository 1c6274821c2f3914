"""Places that could be a vertebra: the local maxima of stage 2's heatmaps, gathered over all channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from ..geometry.frames import plain_tensor, transform_points, voxel_sizes
from .labels import CRANIOCAUDAL, SPINE_LABELS

# labels of the heatmaps of stage 2, from head to foot: C1 to T12, T13, L1 to L6, sacrum (centre of S1)
CHANNELS: tuple[int, ...] = tuple(label for label in CRANIOCAUDAL if label != SPINE_LABELS["coccyx"])
MERGE_MM = 7.0  # candidates this close are one vertebra; the closest neighbours, in the neck, are 11 mm apart


@dataclass(frozen=True)
class Candidate:
    """A maximum of the heatmap of one label.

    Attributes:
        label: of the heatmap, in the numbers of ``spine_labels``.
        position_mm: (3,) RAS.
        score: height of the maximum, about 1 for a clear detection.
    """

    label: int
    position_mm: np.ndarray
    score: float


@dataclass(frozen=True)
class Site:
    """Candidates of any label that lie at one place.

    Attributes:
        position_mm: (3,) RAS, mean of the candidates weighted by their squared scores.
        scores: highest score of each label that has a candidate here.
        positions_mm: position of that candidate.
    """

    position_mm: np.ndarray
    scores: dict[int, float]
    positions_mm: dict[int, np.ndarray]


def peak_of(values: Tensor, index: Sequence[int], radius: Sequence[int]) -> np.ndarray:
    """Continuous index (3,) of a peak: centroid of the values over half of it in a window; exact for a Gaussian.

    The window is cut symmetrically at the border of the array, so that the border does not pull the peak inwards.
    """
    reach = [min(r, i, n - 1 - i) for r, i, n in zip(radius, index, values.shape, strict=True)]
    window = values[tuple(slice(i - r, i + r + 1) for i, r in zip(index, reach, strict=True))].double()
    weights = (window - 0.5 * window.amax()).clamp(min=0)
    axes = [torch.arange(-r, r + 1, dtype=torch.float64, device=values.device) for r in reach]
    total = weights.sum()
    others = [(1, 2), (0, 2), (0, 1)]
    shifts = [float((weights.sum(dim=dims) * axis).sum() / total) for dims, axis in zip(others, axes, strict=True)]
    return np.array(index, dtype=float) + shifts


def find_candidates(
    heatmaps: Tensor,
    affine: np.ndarray | Tensor,
    per_label: int = 5,
    min_score: float = 0.1,
    peak: float | Sequence[float] = 1.0,
    radius_mm: float = 8.0,
    labels: Sequence[int] = CHANNELS,
) -> list[Candidate]:
    """The highest local maxima of each heatmap, with sub-voxel positions.

    Args:
        heatmaps: (27, X, Y, Z).
        affine: (4, 4) from heatmap voxels to RAS mm.
        per_label: maxima of one heatmap.
        min_score: lower ones are left out.
        peak: height that a clear detection has in these heatmaps, one number or one per channel; scores are heights
            divided by it, at most 1.
        radius_mm: a maximum is the highest value within this distance along each axis, at most 2 voxels.
        labels: of the channels.

    Raises:
        ValueError: when the number of channels is not that of the labels.
    """
    values = plain_tensor(heatmaps).detach()
    if values.ndim != 4 or len(values) != len(labels):
        raise ValueError(f"heatmaps of shape {tuple(values.shape)} for {len(labels)} labels")
    matrix = np.asarray(torch.as_tensor(affine, dtype=torch.float64).cpu())
    peaks = np.broadcast_to(np.asarray(peak, dtype=float), (len(labels),))
    steps = voxel_sizes(matrix)
    radius = [max(1, round(radius_mm / float(step))) for step in steps]
    kernel = [2 * min(r, 2) + 1 for r in radius]
    found = []
    for label, channel, height in zip(labels, values, peaks, strict=True):
        if float(channel.amax()) < min_score * height:
            continue
        channel = channel.float()
        highest = max_pool3d(channel[None, None], kernel, stride=1, padding=[k // 2 for k in kernel])[0, 0]
        maxima = ((channel == highest) & (channel >= min_score * height)).nonzero()
        order = channel[tuple(maxima.T)].argsort(descending=True)
        kept: list[np.ndarray] = []
        for index in maxima[order].tolist():
            point = transform_points(matrix, peak_of(channel, index, radius))
            if any(np.linalg.norm(point - other) < MERGE_MM for other in kept):
                continue
            kept.append(point)
            found.append(Candidate(label, point, min(1.0, float(channel[tuple(index)]) / float(height))))
            if len(kept) == per_label:
                break
    return found


def merge_candidates(candidates: Sequence[Candidate], merge_mm: float = MERGE_MM) -> list[Site]:
    """Sites of the candidates of all labels, the surest first.

    The highest candidate founds a site; each further one joins the nearest site within ``merge_mm`` of its founder or
    founds another.
    """
    groups: list[list[Candidate]] = []
    for candidate in sorted(candidates, key=lambda c: -c.score):
        distances = [float(np.linalg.norm(group[0].position_mm - candidate.position_mm)) for group in groups]
        if distances and min(distances) <= merge_mm:
            groups[int(np.argmin(distances))].append(candidate)
        else:
            groups.append([candidate])
    sites = []
    for group in groups:
        weights = np.array([candidate.score**2 for candidate in group]) + 1e-12
        mean = (np.array([candidate.position_mm for candidate in group]) * weights[:, None]).sum(axis=0) / weights.sum()
        best: dict[int, Candidate] = {}
        for candidate in group:
            best.setdefault(candidate.label, candidate)  # sorted: the first is the highest
        sites.append(
            Site(
                mean,
                {label: c.score for label, c in best.items()},
                {label: np.asarray(c.position_mm, float) for label, c in best.items()},
            )
        )
    return sites
