"""Weights of regions that matter for the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def roi_weight_map(labels: Tensor, weights: Mapping[int, float], default: float = 1.0) -> Tensor:
    """Weight of every voxel from its label, for the position term of loss and tracking.

    Args:
        labels: whole numbers, any shape.
        weights: label to weight (0: does not count).
        default: weight of all other labels.

    Returns:
        Weights of the shape of ``labels``, float32.

    Raises:
        ValueError: for a negative weight.
    """
    if min([default, *weights.values()]) < 0:
        raise ValueError("weights of regions cannot be negative")
    result = torch.full(labels.shape, default, dtype=torch.float32, device=labels.device)
    for label, weight in weights.items():
        result[labels == int(label)] = weight
    return result
