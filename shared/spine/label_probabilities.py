"""How probable each label is at a place, from all heatmaps of the second stage together.

The training compares the heatmaps at every true centre by a cross entropy (``losses.py`` of vertebrae_localization):
the softmax of their means about a place is what the network believes about the label of a vertebra there. Unlike the
heights of single maxima it makes up for heatmaps that are brighter than others.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..geometry.frames import plain_tensor, transform_points
from .chains import L1, L5, L6, RANK, T12, T13

TEMPERATURE = 20.0  # of heatmaps that are compared by a softmax
SIGMA = 2.1  # voxels of a heatmap, about what the sigmas of the training end at


def label_log_probabilities(
    heatmaps: Tensor, affine: np.ndarray, points_mm: np.ndarray, sigma: float = SIGMA, temperature: float = TEMPERATURE
) -> np.ndarray:
    """Logarithm of the probability of each label at places.

    Args:
        heatmaps: (K, X, Y, Z).
        affine: (4, 4) from their voxels to mm.
        points_mm: (S, 3).
        sigma: of the Gaussian window about a place, in voxels.
        temperature: factor of the means in the softmax, that of the training.

    Returns:
        (S, K); equal probabilities for places outside of the heatmaps.
    """
    values = plain_tensor(heatmaps).detach().float().cpu()
    inverse = np.linalg.inv(np.asarray(affine, dtype=float))
    reach = int(np.ceil(3 * sigma))
    means = torch.zeros(len(points_mm), len(values))
    for row, point in enumerate(np.asarray(points_mm, dtype=float)):
        index = transform_points(inverse, point)
        low = np.maximum(np.round(index).astype(int) - reach, 0)
        high = np.minimum(np.round(index).astype(int) + reach + 1, values.shape[1:])
        if (high <= low).any():
            continue
        axes = [
            torch.exp(-0.5 * ((torch.arange(a, b) - float(i)) / sigma) ** 2)
            for a, b, i in zip(low, high, index, strict=True)
        ]
        window = values[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        weighted = torch.einsum("kxyz,x,y,z->k", window, *axes)
        means[row] = weighted / torch.stack([axis.sum() for axis in axes]).prod()
    return torch.log_softmax(temperature * means, dim=1).double().numpy()


def allow_rare(log_probabilities: np.ndarray, less: float) -> np.ndarray:
    """Beliefs (S, L) in which T13 is at most ``less`` below T12 and L1, and L6 below L5."""
    allowed = log_probabilities.copy()
    for label, usual in ((T13, (T12, L1)), (L6, (L5,))):
        likely = log_probabilities[:, [RANK[other] for other in usual]].max(axis=1) - less
        allowed[:, RANK[label]] = np.maximum(allowed[:, RANK[label]], likely)
    return allowed
