"""3-D (or 2-D) U-Net of constant width without normalisation, for heatmaps and masks of small crops.

The layout of the networks around the SpatialConfiguration-Net (Payer et al., VISAPP 2020): two convolutions per block,
average pooling, linear upsampling, concatenation of the levels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Pool
from torch import Tensor, nn


def _convolution(dims: int, inputs: int, outputs: int, slope: float, stride: int = 1) -> Convolution:
    """3x3(x3) convolution, output i centred on input ``stride * i``, followed by a LeakyReLU."""
    act = ("leakyrelu", {"negative_slope": slope})
    return Convolution(dims, inputs, outputs, strides=stride, kernel_size=3, padding=1, norm=None, act=act)


class Block(nn.Module):
    """Convolution, dropout, convolution."""

    def __init__(self, dims: int, inputs: int, width: int, dropout: float, slope: float) -> None:
        super().__init__()
        self.first = _convolution(dims, inputs, width, slope)
        self.dropout = nn.Dropout(dropout)
        self.second = _convolution(dims, width, width, slope)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.dropout(self.first(x)))


class UNet(nn.Module):
    """U-Net with the same number of filters on every level.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        out_channels: of the output, without an activation.
        width: filters of every convolution but the head.
        levels: number of resolutions; each but the first has half of the one above.
        dropout: probability inside each block.
        negative_slope: of the LeakyReLU.
        head_std: standard deviation that the 1x1(x1) head starts from; small, so that the first output is close to
            zero.
        head_bias: what every output starts from; below zero where most voxels are background.

    Input (B, in_channels, *spatial), output (B, out_channels, *spatial); each spatial size must be a multiple of
    ``2 ** (levels - 1)``.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 64,
        levels: int = 5,
        dropout: float = 0.25,
        negative_slope: float = 0.1,
        head_std: float = 1e-3,
        head_bias: float = 0.0,
    ) -> None:
        super().__init__()
        dims, slope = spatial_dims, negative_slope
        self.divisor = 2 ** (levels - 1)
        self.upsample_mode = {2: "bilinear", 3: "trilinear"}[dims]
        self.down = nn.ModuleList(
            [Block(dims, in_channels if level == 0 else width, width, dropout, slope) for level in range(levels)]
        )
        self.up = nn.ModuleList([Block(dims, 2 * width, width, dropout, slope) for _ in range(levels - 1)])
        self.pool = Pool["AVG", dims](2)
        self.head = Convolution(dims, width, out_channels, kernel_size=1, padding=0, conv_only=True)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, a=slope)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.head.get_parameter("conv.weight"), std=head_std, a=-2 * head_std, b=2 * head_std)
        nn.init.constant_(self.head.get_parameter("conv.bias"), head_bias)

    def forward(self, x: Tensor) -> Tensor:
        for size in x.shape[2:]:
            if size % self.divisor != 0:
                raise ValueError(f"image sizes must be multiples of {self.divisor}, got {x.shape[2:]}")
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level > 0:
                x = self.pool(x)
            x = block(x)
            skips.append(x)
        # scripting can index no module list with a variable, so the way up walks over its blocks from below
        level = len(skips) - 2
        for block in self.up:
            x = F.interpolate(x, size=skips[level].shape[2:], mode=self.upsample_mode, align_corners=False)
            x = block(torch.cat([skips[level], x], dim=1))
            level -= 1
        return self.head(x)
