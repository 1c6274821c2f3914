"""From tokens to voxels: each stage doubles the grid and adds what both X-rays show at the finer one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import group_count
from .lifting import BiplanarLifting


class DecoderStage(nn.Module):
    """Doubles a grid of features, adds what the X-rays show at each cell of the finer grid, and mixes neighbours.

    Args:
        inputs: channels of the coarse grid.
        outputs: channels of the fine grid.
        lifting: to the fine grid.
        level: which map of the feature pyramids is lifted.
        image_channels: of that map.

    Input: coarse grid (B, inputs, X, Y, Z), the pyramids of both views, projections (B, 2, 3, 4). Output (B, outputs,
    2 X, 2 Y, 2 Z).
    """

    def __init__(self, inputs: int, outputs: int, lifting: BiplanarLifting, level: int, image_channels: int) -> None:
        super().__init__()
        self.level = level
        self.lifting = lifting
        self.narrow = nn.Conv3d(inputs, outputs, kernel_size=1)
        self.join = nn.Conv3d(2 * image_channels, outputs, kernel_size=1)
        groups = group_count(outputs)
        self.mix = nn.Sequential(
            nn.GroupNorm(groups, outputs),
            nn.SiLU(),
            nn.Conv3d(outputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(groups, outputs),
            nn.SiLU(inplace=True),
            nn.Conv3d(outputs, outputs, kernel_size=3, padding=1),
        )

    def forward(self, coarse: Tensor, frontal: list[Tensor], lateral: list[Tensor], projections: Tensor) -> Tensor:
        lifted = self.join(self.lifting(frontal[self.level], lateral[self.level], projections))
        x = F.interpolate(self.narrow(coarse), size=lifted.shape[2:], mode="trilinear", align_corners=False) + lifted
        return x + self.mix(x)
