"""Convolutional network that regresses the pose of an X-ray camera from one image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.resnet import ResNetBlock
from torch import Tensor, nn


class PoseRegressor(nn.Module):
    """Small residual network with group normalisation and two heads, one for the rotation, one for the translation.

    The features are pooled to a grid rather than a point, because the translation shows in where things lie. The heads
    start at zero: an untrained network answers with the middle of the pose space.

    Args:
        in_channels: of the image.
        channels: of each stage; every stage halves the image once more.
        blocks: residual blocks per stage.
        grid: side of the grid to which features are pooled.
        hidden: width of the layer before the heads.
        groups: of the normalisation; divides all channels.

    Input (B, in_channels, rows, columns), sides a multiple of ``2 ** (len(channels) + 1) * grid`` for exports.
    Output (B, 6): rotation angles [rad] and translation [m] relative to the middle of the pose space.
    Reference: Gopalakrishnan et al., "Rapid patient-specific neural networks for intraoperative X-ray to volume
        registration", 2025 (ResNet with group normalisation).
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128, 192),
        blocks: int = 1,
        grid: int = 4,
        hidden: int = 256,
        groups: int = 8,
    ) -> None:
        super().__init__()
        norm = ("group", {"num_groups": groups})
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], kernel_size=7, stride=2, padding=3, bias=False),
            nn.GroupNorm(groups, channels[0]),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = []
        width = channels[0]
        for planes in channels:
            shortcut = nn.Sequential(
                nn.Conv2d(width, planes, kernel_size=1, stride=2, bias=False), nn.GroupNorm(groups, planes)
            )
            stages.append(ResNetBlock(width, planes, spatial_dims=2, stride=2, downsample=shortcut, norm=norm))
            stages += [ResNetBlock(planes, planes, spatial_dims=2, norm=norm) for _ in range(blocks - 1)]
            width = planes
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(width * grid * grid, hidden), nn.ReLU(inplace=True))
        self.rotation = nn.Linear(hidden, 3)
        self.translation = nn.Linear(hidden, 3)
        for head in (self.rotation, self.translation):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, rows, columns) to (B, 6)."""
        features = self.neck(self.pool(self.stages(self.stem(image))))
        return torch.cat([self.rotation(features), self.translation(features)], dim=1)
