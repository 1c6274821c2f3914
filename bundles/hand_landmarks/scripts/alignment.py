"""The two frames in which the network sees a hand.

In the *overview* frame the whole canvas is fitted into the network's input. In the *upright* frame a similarity
transform has brought the hand to the place, size and direction of the mean hand, which fills the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shared.hand_anatomy import WRIST, WRIST_MM
from .shared.phantoms.hand_shape import MEAN_SHAPE
from .shared.points import fit_similarity

MARGIN_MM = 12.0
"""Space left around the mean hand in the upright frame: fingertips, other proportions."""


def upright_mean(size: tuple[int, int]) -> Tensor:
    """Mean hand in the upright frame: (37, 2) indices of a network input of ``size`` (X, Y)."""
    mean = torch.as_tensor(MEAN_SHAPE, dtype=torch.float64)
    low, high = mean.min(dim=0).values - MARGIN_MM, mean.max(dim=0).values + MARGIN_MM
    extent = torch.tensor(size, dtype=torch.float64) - 1
    scale = (extent / (high - low)).min()
    return (mean - (low + high) / 2) * scale + extent / 2


def upright_matrix(points: Tensor, size: tuple[int, int], weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Frame that brings a hand upright.

    Args:
        points: (37, 2) canvas indices.
        size: (X, Y) of the network input.
        weights: (37,) trust in each point.

    Returns:
        (3, 3) map from network input to canvas indices, and the distances (37,) in mm of the points from the mean
        hand after alignment, a measure of how much they look like a hand.
    """
    mean = upright_mean(size)
    to_upright, residuals = fit_similarity(points, mean, weights)
    mm_per_index = WRIST_MM / (mean[WRIST[0]] - mean[WRIST[1]]).norm()
    return torch.linalg.inv(to_upright), residuals * mm_per_index


def overview_matrix(canvas: tuple[int, int], size: tuple[int, int], turns: int = 0, mirror: bool = False) -> Tensor:
    """(3, 3) map from network input to canvas indices that shows the whole canvas.

    Args:
        canvas: (X, Y) of the canvas.
        size: (X, Y) of the network input.
        turns: quarter turns of the canvas from x towards y.
        mirror: whether left and right are exchanged.
    """
    sizes = torch.tensor([canvas, size], dtype=torch.float64)
    turned = sizes[0].flip(0) if turns % 2 else sizes[0]
    scale = (turned / sizes[1]).max()
    cosine, sine = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][turns % 4]
    rotation = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    linear = scale * rotation @ torch.diag(torch.tensor([-1.0 if mirror else 1.0, 1.0], dtype=torch.float64))
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2] = linear
    matrix[:2, 2] = (sizes[0] - 1) / 2 - linear @ ((sizes[1] - 1) / 2)
    return matrix
