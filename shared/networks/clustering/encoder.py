"""Pyramid of feature maps of one X-ray."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn


def group_count(channels: int) -> int:
    """Groups of a normalisation: as many as divide the channels, at most 8."""
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)


class ConvBlock(nn.Sequential):
    """Two convolutions of 3 pixels per axis, each with group normalisation (batches are small) and SiLU."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int) -> None:
        convolution, groups = Conv["conv", spatial_dims], group_count(outputs)
        super().__init__(
            convolution(inputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(groups, outputs),
            nn.SiLU(inplace=True),
            convolution(outputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(groups, outputs),
            nn.SiLU(inplace=True),
        )


class XrayEncoder(nn.Module):
    """Feature pyramid: down by average pooling, up by addition, so that fine maps know of the whole image.

    Pooling and linear interpolation keep the maps in place: pixel i of level l covers pixels 2^l i to 2^l (i + 1) - 1
    of the image, which lifting relies on.

    Args:
        channels: of each level; level l has 1 / 2^l of the image's resolution.
        in_channels: of the image.
        finest: finest level that is returned.

    Input (B, in_channels, rows, columns), sides a multiple of 2^(levels - 1); output: one map
    (B, channels[l], rows / 2^l, columns / 2^l) per level, from ``finest`` on.
    Reference: Lin et al., "Feature pyramid networks for object detection", CVPR 2017.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 128), in_channels: int = 1, finest: int = 0) -> None:
        super().__init__()
        levels = len(channels)
        widths = [in_channels, *channels]
        self.divisor = 2 ** (levels - 1)
        self.down = nn.ModuleList([ConvBlock(2, widths[level], widths[level + 1]) for level in range(levels)])
        self.context = nn.Conv2d(channels[-1], channels[-1], kernel_size=1)
        upwards = range(levels - 2, finest - 1, -1)
        self.narrow = nn.ModuleList([nn.Conv2d(channels[level + 1], channels[level], 1) for level in upwards])
        self.merge = nn.ModuleList([ConvBlock(2, channels[level], channels[level]) for level in upwards])

    def forward(self, image: Tensor) -> list[Tensor]:
        for size in image.shape[2:]:
            if size % self.divisor != 0:
                raise ValueError(f"image sides must be multiples of {self.divisor}, got {image.shape[2:]}")
        maps: list[Tensor] = []
        x = image
        for level, block in enumerate(self.down):
            if level > 0:
                x = F.avg_pool2d(x, 2)
            x = block(x)
            maps.append(x)
        x = x + self.context(x.mean(dim=[2, 3], keepdim=True))
        pyramid = [x]
        level = len(maps) - 2
        for narrow, merge in zip(self.narrow, self.merge):  # noqa: B905 scripted
            above = F.interpolate(narrow(x), size=maps[level].shape[2:], mode="bilinear", align_corners=False)
            x = merge(maps[level] + above)
            pyramid.append(x)
            level -= 1
        pyramid.reverse()
        return pyramid
