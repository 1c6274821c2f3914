"""Cutting a network input out of a volume, one way for training and inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from ..geometry.deform import sample
from ..geometry.grids import volume_affine


def centred_grid(centre_ras_mm: Sequence[float] | np.ndarray, size: Sequence[int], spacing_mm: float) -> np.ndarray:
    """Affine (4, 4) of a RAS grid of ``size`` voxels around a point."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = np.asarray(centre_ras_mm, dtype=float) - (np.asarray(size) - 1) / 2 * spacing_mm
    return affine


def grid_indices(matrix: np.ndarray, size: Sequence[int]) -> Tensor:
    """(X, Y, Z, 3) float32: ``matrix`` (4, 4) applied to every index of a grid."""
    steps = torch.as_tensor(matrix[:3, :3], dtype=torch.float32)
    x, y, z = (torch.arange(n, dtype=torch.float32) for n in size)
    origin = torch.as_tensor(matrix[:3, 3], dtype=torch.float32)
    plane = x[:, None, None] * steps[:, 0] + y[None, :, None] * steps[:, 1]  # (X, Y, 3)
    return plane[:, :, None] + (z[:, None] * steps[:, 2] + origin)


def touched_part(shape: Sequence[int], indices: Tensor) -> tuple[Tensor, Tensor]:
    """First index (3,) of the part of a volume that an interpolation at ``indices`` (…, 3) reads, and the one after it.

    Args:
        shape: (X, Y, Z) of the volume. Where the indices lie beside it, the end is not beyond the start.
        indices: array indices.
    """
    flat = indices.reshape(-1, 3)
    low = flat.min(dim=0).values.floor().long().clamp(min=0)
    return low, torch.minimum(flat.max(dim=0).values.ceil().long() + 1, torch.tensor(tuple(shape)))


def sample_indices(volume: Tensor, indices: Tensor, fill: float, labels: bool = False) -> Tensor:
    """Values of a volume at array indices; only the part of it that is needed is touched.

    Args:
        volume: (C, X, Y, Z) of any type.
        indices: (X', Y', Z', 3) float32.
        fill: value outside of the volume.
        labels: nearest voxel instead of trilinear interpolation.

    Returns:
        (C, X', Y', Z') float32, or labels of the type of ``volume``.
    """
    data = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
    size = indices.shape[:3]
    low, high = touched_part(data.shape[1:], indices)
    if (high <= low).any():
        return torch.full((data.shape[0], *size), fill, dtype=data.dtype if labels else torch.float32)
    (x0, y0, z0), (x1, y1, z1) = low.tolist(), high.tolist()
    part = data[:, x0:x1, y0:y1, z0:z1].float() - fill
    for axis in range(3):  # grid_sample cannot place an axis of a single voxel
        if part.shape[axis + 1] == 1:
            part = torch.cat([part, torch.zeros_like(part)], dim=axis + 1)
    mode = "nearest" if labels else "bilinear"
    # grid_sample's "bilinear" is trilinear for volumes
    values = sample(part[None], (indices - low)[None], mode, "zeros")[0] + fill
    return values.to(data.dtype) if labels else values


def sample_grid(
    volume: MetaTensor, affine: np.ndarray, size: Sequence[int], fill: float, labels: bool = False
) -> Tensor:
    """A volume on another grid, by one trilinear (labels: nearest) look-up.

    There is no smoothing: bring the volume to the spacing of the grid with :func:`~shared.geometry.grids.to_grid` first
    where its voxels are much smaller.

    Args:
        volume: (C, X, Y, Z) with its affine (RAS mm).
        affine: (4, 4) of the grid, indices to RAS mm.
        size: of the grid.
        fill: value outside of the volume.
        labels: whether the values are labels.

    Returns:
        (C, *size), float32 or labels of the type of ``volume``.
    """
    matrix = np.linalg.inv(volume_affine(volume)) @ np.asarray(affine, dtype=float)
    return sample_indices(volume, grid_indices(matrix, size), fill, labels)
