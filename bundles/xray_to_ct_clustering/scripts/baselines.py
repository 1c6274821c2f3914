"""What the generator is compared with: a plain encoder and decoder as in X2CT-GAN, and the mean training volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .shared.networks.clustering.encoder import ConvBlock


def frontal_in_space(features: Tensor) -> Tensor:
    """Frontal maps (B, C, rows, columns) as (B, C, x, 1, z): the patient's right is on the left, the head above."""
    return features.flip(2, 3).permute(0, 1, 3, 2).unsqueeze(3)


def lateral_in_space(features: Tensor) -> Tensor:
    """Lateral maps (B, C, rows, columns) as (B, C, 1, y, z): the patient faces left."""
    return features.flip(2, 3).permute(0, 1, 3, 2).unsqueeze(2)


class PlainGenerator(nn.Module):
    """Two image encoders and a volume decoder, joined as in X2CT-GAN, without lifting, attention or clusters.

    The coarsest maps become volumes by a layer that gives every pixel a column of voxels (connection A); finer maps
    are repeated along their viewing direction (connection B); both views are added (connection C). Beams count as
    parallel. Called like the clustering generator.

    Args:
        volume_size: voxels along x, y, z: a cube whose edge is a power of two times 8.
        image_channels: of the levels of the encoders; images have twice the volume's edge.
        volume_channels: of the decoder, from 8³ voxels to the full size.

    Reference: Ying et al., "X2CT-GAN", CVPR 2019.
    """

    clustering = None

    def __init__(
        self,
        volume_size: Sequence[int] = (64, 64, 64),
        image_channels: Sequence[int] = (24, 48, 96, 140, 140),
        volume_channels: Sequence[int] = (72, 48, 24, 12),
    ) -> None:
        super().__init__()
        self.grid = [8, 8, 8]
        if list(volume_size) != [8 * 2 ** (len(volume_channels) - 1)] * 3:
            raise ValueError(f"volume {tuple(volume_size)} needs one level of volume_channels per halving down to 8³")
        if len(image_channels) != len(volume_channels) + 1:
            raise ValueError("the encoders need one level more than the decoder")
        widths = [1, *image_channels]

        def encoder() -> nn.ModuleList:
            return nn.ModuleList([ConvBlock(2, a, b) for a, b in zip(widths, widths[1:], strict=False)])

        self.frontal_encoder, self.lateral_encoder = encoder(), encoder()
        self.columns = nn.ModuleList([nn.Conv2d(image_channels[-1], volume_channels[0] * 8, 1) for _ in range(2)])
        self.mix = ConvBlock(3, volume_channels[0], volume_channels[0])
        self.skips, self.stages = nn.ModuleList(), nn.ModuleList()
        for level, (coarse, fine) in enumerate(zip(volume_channels, volume_channels[1:], strict=False)):
            inputs = image_channels[-2 - level]
            self.skips.append(nn.ModuleList([nn.Conv2d(inputs, fine, 1) for _ in range(2)]))
            self.stages.append(nn.ModuleList([nn.Conv3d(coarse, fine, 1), ConvBlock(3, fine, fine)]))
        self.head = nn.Conv3d(volume_channels[-1], 1, kernel_size=1)

    @staticmethod
    def encode(blocks: nn.ModuleList, image: Tensor) -> list[Tensor]:
        """Maps of an image (B, 1, rows, columns), finest first."""
        maps, x = [], image
        for level, block in enumerate(blocks):
            x = block(F.avg_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps

    def forward(
        self, frontal: Tensor, lateral: Tensor, gt_volume: Tensor | None = None, projections: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``pred_volume`` (B, 1, X, Y, Z) and, to fit the loss, ``cluster_assignments`` (B, 512, 2), all alike."""
        front, side = self.encode(self.frontal_encoder, frontal), self.encode(self.lateral_encoder, lateral)
        depth = self.columns[0](front[-1]).unflatten(1, (-1, 8))  # (B, C, y, rows, columns)
        across = self.columns[1](side[-1]).unflatten(1, (-1, 8))  # (B, C, x, rows, columns)
        x = depth.flip(3, 4).permute(0, 1, 4, 2, 3) + across.flip(3, 4).permute(0, 1, 2, 4, 3)
        x = self.mix(x)
        for level, (skip, stage) in enumerate(zip(self.skips, self.stages, strict=True)):
            seen = frontal_in_space(skip[0](front[-2 - level])) + lateral_in_space(skip[1](side[-2 - level]))  # type: ignore[index]
            x = stage[1](F.interpolate(stage[0](x), scale_factor=2.0, mode="trilinear", align_corners=False) + seen)  # type: ignore[index]
        volume = self.head(x)
        alike = torch.full((volume.shape[0], 512, 2), 0.5, device=volume.device)
        return {"pred_volume": volume, "cluster_assignments": alike}


class MeanGenerator(nn.Module):
    """The same volume for every pair of X-rays: what can be had without looking at them.

    Args:
        volume_size: voxels along x, y, z.
    """

    clustering = None

    def __init__(self, volume_size: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__()
        self.grid = [8, 8, 8]
        self.mean = nn.Parameter(torch.zeros(1, 1, *volume_size))

    def forward(
        self, frontal: Tensor, lateral: Tensor, gt_volume: Tensor | None = None, projections: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``pred_volume`` (B, 1, X, Y, Z)."""
        return {"pred_volume": self.mean.expand(frontal.shape[0], -1, -1, -1, -1)}
