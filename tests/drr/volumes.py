"""Volumes, poses and measures that several tests use."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shared.drr import euler_to_pose


def smooth_volume(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    """Attenuation (X, Y, Z) float64 of a soft ellipsoid with a dense ball and a rod, and an affine centred on the
    origin.
    """
    grids = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape), indexing="ij")
    x, y, z = grids
    body = torch.sigmoid((0.8 - x**2 / 0.8 - y**2 / 0.6 - z**2 / 0.9) * 12)
    ball = torch.sigmoid((0.1 - (x - 0.3) ** 2 - (y + 0.2) ** 2 - (z - 0.1) ** 2) * 30)
    rod = torch.sigmoid((0.02 - (x + 0.35) ** 2 - (y - 0.1) ** 2) * 60)
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = -torch.tensor([(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)])
    return 0.02 * body + 0.03 * ball * body + 0.02 * rod * body, affine


def random_poses(seed: int, count: int, distance: float = 850.0) -> Tensor:
    """Oblique poses (B, 4, 4) float64: 8 to 30, 8 to 15, 8 to 25 degrees either way, ±30 mm aside and ±100 mm deep."""
    generator = torch.Generator().manual_seed(seed)
    unit = 2 * torch.rand(count, 6, generator=generator, dtype=torch.float64) - 1
    degrees = unit[:, :3] * torch.tensor([22.0, 7.0, 17.0]) + 8 * unit[:, :3].sign()
    translation = unit[:, 3:] * torch.tensor([30.0, 100.0, 30.0]) + torch.tensor([0.0, distance, 0.0])
    return euler_to_pose(degrees.deg2rad(), translation)


def along_axis(axis: int, distance: float = 700.0) -> Tensor:
    """Pose (1, 4, 4) whose rays run mainly along a world axis, a little oblique."""
    angles = [(math.pi / 2 + 0.07, 0.05, 0.03), (0.06, -0.08, 0.1), (0.05, math.pi / 2 - 0.2, 0.08)][axis]
    translation = torch.tensor([[5.0, distance, -4.0]], dtype=torch.float64)
    return euler_to_pose(torch.tensor([angles], dtype=torch.float64), translation)


def relative_rmse(value: Tensor, reference: Tensor) -> float:
    """Root mean square difference over the root mean square of the reference."""
    return ((value.double() - reference).square().mean() / reference.square().mean()).sqrt().item()
