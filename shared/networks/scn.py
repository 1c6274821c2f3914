"""SpatialConfiguration-Net for landmark heatmaps in 2-D and 3-D.

Payer, Štern, Bischof, Urschler: Integrating spatial configuration into heatmap regression based CNNs for landmark
localization. Medical Image Analysis 54 (2019) 207-219.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"linear": nn.Identity, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def _convolution(dims: int, inputs: int, outputs: int, kernel: int, slope: float, stride: int = 1) -> Convolution:
    """Convolution that keeps pixel centres (output i sits on input ``stride * i``), followed by a LeakyReLU."""
    act = ("leakyrelu", {"negative_slope": slope})
    return Convolution(
        dims, inputs, outputs, strides=stride, kernel_size=kernel, padding=kernel // 2, norm=None, act=act
    )


def _head(dims: int, inputs: int, outputs: int, kernel: int) -> Convolution:
    return Convolution(dims, inputs, outputs, kernel_size=kernel, padding=kernel // 2, conv_only=True)


def upsample_cubic(x: Tensor, size: list[int]) -> Tensor:
    """Cubic interpolation of (B, C, *spatial) to (B, C, *size), pixel centres kept, in any number of dimensions.

    One matrix product per axis: several times faster than torch's bicubic kernel on a CPU, and torch has none in 3-D.
    The matrix of an axis is what torch makes of the identity.
    """
    for axis in range(len(size)):
        length = x.shape[axis + 2]
        identity = torch.eye(length, dtype=torch.float32, device=x.device)[None, None]
        matrix = F.interpolate(identity, size=[size[axis], length], mode="bicubic", align_corners=False)[0, 0]
        x = torch.matmul(x.transpose(axis + 2, -1), matrix.to(x.dtype).t()).transpose(axis + 2, -1)
    return x


class LocalAppearance(nn.Module):
    """U-shaped local part of constant width; levels are joined by addition, as published.

    Each level is convolution, dropout, convolution; the pooled result of the second convolution feeds the level below
    and a third convolution carries it to the way up.
    """

    def __init__(self, dims: int, inputs: int, width: int, levels: int, kernel: int, dropout: float, slope: float):
        super().__init__()
        self.upsample_mode = {2: "bilinear", 3: "trilinear"}[dims]
        self.first = nn.ModuleList(
            [_convolution(dims, inputs if level == 0 else width, width, kernel, slope) for level in range(levels)]
        )
        self.second = nn.ModuleList([_convolution(dims, width, width, kernel, slope) for _ in range(levels)])
        self.skip = nn.ModuleList([_convolution(dims, width, width, kernel, slope) for _ in range(levels)])
        self.dropout = nn.Dropout(dropout)
        self.pool = Pool["AVG", dims](2)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, (first, second, skip) in enumerate(zip(self.first, self.second, self.skip)):  # noqa: B905 scripted
            if level > 0:
                x = self.pool(x)
            x = second(self.dropout(first(x)))
            skips.append(skip(x))
        y = skips[-1]
        for level in range(len(skips) - 2, -1, -1):
            size = skips[level].shape[2:]
            y = skips[level] + F.interpolate(y, size=size, mode=self.upsample_mode, align_corners=False)
        return y


class SpatialConfigurationNet(nn.Module):
    """Heatmaps = local appearance x spatial configuration.

    Args:
        spatial_dims: 2 or 3.
        in_channels: image channels.
        out_channels: number of landmarks K.
        width: filters of every intermediate convolution.
        levels: levels of the local part.
        kernel_size: kernel of the local part and of its head.
        spatial_downsampling: factor between the heatmaps and the grid of the spatial part.
        spatial_kernel_size: kernel of the spatial part and of its head.
        spatial_layers: intermediate convolutions of the spatial part.
        input_stride: stride of the entry convolution; heatmap index i sits on image index ``input_stride * i``.
        entry: an entry convolution before the first level (always there if ``input_stride`` > 1).
        dropout: probability after the first convolution of each level.
        negative_slope: of the LeakyReLU.
        local_activation: activation of the local head, "linear", "tanh" or "sigmoid".
        spatial_activation: activation of the spatial head.
        head_std: standard deviation of the truncated normal that both heads start from; small, so that the first
            heatmaps are close to zero.

    Input (B, in_channels, *spatial), output (B, out_channels, *spatial / input_stride); each spatial size must be a
    multiple of ``input_stride * max(2 ** (levels - 1), spatial_downsampling)``.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        levels: int = 4,
        kernel_size: int = 5,
        spatial_downsampling: int = 8,
        spatial_kernel_size: int = 15,
        spatial_layers: int = 3,
        input_stride: int = 1,
        entry: bool = False,
        dropout: float = 0.5,
        negative_slope: float = 0.1,
        local_activation: str = "linear",
        spatial_activation: str = "tanh",
        head_std: float = 1e-4,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or spatial_kernel_size % 2 == 0:
            raise ValueError(f"kernel sizes must be odd to keep pixel centres: {kernel_size}, {spatial_kernel_size}")
        dims, slope = spatial_dims, negative_slope
        self.divisor = input_stride * max(2 ** (levels - 1), spatial_downsampling)
        has_entry = entry or input_stride > 1
        self.entry = (
            _convolution(dims, in_channels, width, kernel_size, slope, input_stride) if has_entry else nn.Identity()
        )
        self.local = LocalAppearance(
            dims, width if has_entry else in_channels, width, levels, kernel_size, dropout, slope
        )
        self.local_head = _head(dims, width, out_channels, kernel_size)
        self.local_activation = ACTIVATIONS[local_activation]()
        self.spatial_pool = Pool["AVG", dims](spatial_downsampling)
        self.spatial = nn.Sequential(
            *[
                _convolution(dims, out_channels if i == 0 else width, width, spatial_kernel_size, slope)
                for i in range(spatial_layers)
            ]
        )
        self.spatial_head = _head(dims, width, out_channels, spatial_kernel_size)
        self.spatial_activation = ACTIVATIONS[spatial_activation]()
        self._initialize(slope, head_std)

    def _initialize(self, slope: float, head_std: float) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, a=slope)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head in (self.local_head, self.spatial_head):
            weight = head.get_parameter("conv.weight")
            nn.init.trunc_normal_(weight, std=head_std, a=-2 * head_std, b=2 * head_std)

    def forward(self, x: Tensor) -> Tensor:
        for size in x.shape[2:]:
            if size % self.divisor != 0:
                raise ValueError(f"image sizes must be multiples of {self.divisor}, got {x.shape[2:]}")
        local = self.local_activation(self.local_head(self.local(self.entry(x))))
        spatial = self.spatial_activation(self.spatial_head(self.spatial(self.spatial_pool(local))))
        return local * upsample_cubic(spatial, local.shape[2:])


def hand_scn_64(out_channels: int = 37) -> SpatialConfigurationNet:
    """64 filters of 5x5 in four levels and a 15x15 spatial part at 1/8: the small published hand network."""
    return SpatialConfigurationNet(2, 1, out_channels)


def hand_scn_128(out_channels: int = 37) -> SpatialConfigurationNet:
    """The published hand network in its last public form: 128 filters of 3x3, 11x11 spatial part at 1/16."""
    return SpatialConfigurationNet(
        2, 1, out_channels, width=128, kernel_size=3, spatial_downsampling=16, spatial_kernel_size=11, entry=True
    )


def vertebrae_scn_2019(out_channels: int = 25) -> SpatialConfigurationNet:
    """The published vertebra network of 2019: 64 filters of 3x3x3, 7x7x7 spatial part at 1/4."""
    return SpatialConfigurationNet(
        3, 1, out_channels, width=64, kernel_size=3, spatial_downsampling=4, spatial_kernel_size=7, entry=True
    )
