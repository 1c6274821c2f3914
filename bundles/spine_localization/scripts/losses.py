"""Loss of a heatmap in which few voxels are bright."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpineHeatmapLoss(nn.Module):
    """Mean squared error in which bright voxels count more, because most of a body is no spine.

    Args:
        foreground_weight: a voxel counts ``1 + foreground_weight * target`` times.

    Input: heatmaps and targets (B, 1, *spatial), targets from 0 to 1.
    """

    def __init__(self, foreground_weight: float = 10.0) -> None:
        super().__init__()
        self.foreground_weight = foreground_weight

    def forward(self, heatmaps: Tensor, targets: Tensor) -> Tensor:
        heatmaps, targets = (torch.as_tensor(values).float() for values in (heatmaps, targets))
        return ((heatmaps - targets).square() * (1 + self.foreground_weight * targets)).mean()
