"""The two frames in which the network sees a hand.

In the *overview* frame the whole canvas is fitted into the network's input. In the *upright* frame the hand has been
turned to the direction of the mean hand and fills the input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .points import fit_similarity
from .shared.geometry.frames import transform_points

MARGIN_MM = 14.0
"""Space left around the landmarks in the upright frame, for fingertips and for errors of the first pass."""


def upright_matrix(
    points: Tensor, mean: Tensor | np.ndarray, size: Sequence[int], weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Frame that shows a hand upright and as large as its landmarks allow.

    Args:
        points: (K, 2) canvas indices; NaN where absent.
        mean: (K, 2) mean hand in mm, upright.
        size: (X, Y) of the network input.
        weights: (K,) trust in each point.

    Returns:
        (3, 3) map from network input to canvas indices, and the distances in mm of the present points from the mean
        hand after alignment, a measure of how much they look like a hand.
    """
    present = points.isfinite().all(dim=1)
    points = points[present]
    to_mean, residuals = fit_similarity(
        points, torch.as_tensor(mean)[present], None if weights is None else weights[present]
    )
    upright = transform_points(to_mean, points).double()
    low, high = upright.amin(dim=0) - MARGIN_MM, upright.amax(dim=0) + MARGIN_MM
    extent = torch.tensor(size, dtype=torch.float64) - 1
    mm_per_index = ((high - low) / extent).max()
    frame = torch.eye(3, dtype=torch.float64)
    frame[:2, :2] *= mm_per_index
    frame[:2, 2] = (low + high) / 2 - mm_per_index * extent / 2
    return torch.linalg.inv(to_mean) @ frame, residuals


def overview_matrix(canvas: Sequence[int], size: Sequence[int], turns: int = 0, mirror: bool = False) -> Tensor:
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
