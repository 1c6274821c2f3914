"""Where a voxel lies: normalised coordinates and their Fourier features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def axis_positions(length: int, device: torch.device | None = None) -> Tensor:
    """Centres (length,) of the cells of an axis whose outer edges are -1 and 1."""
    return (2 * torch.arange(length, dtype=torch.float32, device=device) + 1) / length - 1


def grid_positions(size: Sequence[int]) -> Tensor:
    """Centres (N, 3) of the cells of a grid over the cube [-1, 1]³; the last axis varies fastest."""
    axes = torch.meshgrid(*[axis_positions(length) for length in size], indexing="ij")
    return torch.stack(axes, dim=-1).flatten(0, -2)


class PositionEncodingModule(nn.Module):
    """Fourier features sin(2^k pi x), cos(2^k pi x), k = 0 … num_freq_bands - 1, mixed by a linear layer.

    On a grid of 2^n cells the bands from k = n on are constant: they add nothing, and harm nothing.

    Args:
        num_freq_bands: frequencies per axis.
        d_model: width of the encoding.

    Input (..., 3) in [-1, 1]; output (..., d_model).
    Reference: Mildenhall et al., "NeRF", ECCV 2020, equation 4.
    """

    frequencies: Tensor

    def __init__(self, num_freq_bands: int = 10, d_model: int = 128) -> None:
        super().__init__()
        if num_freq_bands < 1:
            raise ValueError(f"at least one frequency band is needed, got {num_freq_bands}")
        bands = math.pi * 2.0 ** torch.arange(num_freq_bands, dtype=torch.float32)
        self.register_buffer("frequencies", bands, persistent=False)
        self.mix = nn.Linear(6 * num_freq_bands, d_model)

    def fourier(self, positions: Tensor) -> Tensor:
        """Features (..., 6 * num_freq_bands) of positions (..., 3): all sines, then all cosines."""
        angles = (positions[..., None] * self.frequencies).flatten(-2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, positions: Tensor) -> Tensor:
        return self.mix(self.fourier(positions))
