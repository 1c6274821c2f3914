"""Working grids of the vertebra pipeline: any CT on isotropic voxels along the patient's axes, and its intensities.

The working affine is ``diag(s, s, s)`` with an origin: array index grows towards the patient's right, front and head
(RAS), wherever the axes of the file point.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from torch import Tensor

from ..io.itk_images import FWHM_PER_SIGMA, grid_image, resample, to_sitk
from .frames import bounding_grid, ras_to_lps
from .hounsfield import LOWEST_HU

HU_RANGE = 1024.0
SNAP_VOXELS = 0.05  # how far a corner may move when directions are taken as exactly axis-aligned
SLAB_VALUES = 64 * 512 * 512  # voxels that are turned into float32 at a time


def normalize_hu(hu: Tensor) -> Tensor:
    """HU as network input: -1024 to 1024 HU become -1 to 1, clamped beyond, so that metal looks like dense bone."""
    return hu.clamp(-HU_RANGE, HU_RANGE) / HU_RANGE


def volume_affine(volume: Tensor) -> np.ndarray:
    """Affine (4, 4) float64 of a volume, from its array indices to RAS mm; ValueError for a tensor without one."""
    if not isinstance(volume, MetaTensor):
        raise ValueError("a volume has to be a MetaTensor with an affine")
    return np.asarray(to_affine_nd(3, np.asarray(volume.affine, dtype=np.float64)))


def axis_order(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Array axis that runs along each of the patient's axes; None for an image at an angle to them."""
    order = tuple(int(n) for n in np.abs(affine[:3, :3]).argmax(axis=1))
    if sorted(order) != [0, 1, 2]:
        return None
    aside = affine[:3, :3].copy()
    aside[range(3), order] = 0.0
    moved = np.abs(aside) @ np.array(shape)  # mm that the far corner moves
    steps = np.abs(affine[:3, :3])[range(3), order]
    return order if (moved <= SNAP_VOXELS * steps).all() else None


def gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """(size, size) smoothing along one axis with a Gaussian of ``sigma`` voxels, edge values continued."""
    if sigma <= 0:
        return np.eye(size)
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((size, size))
    for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), weight)
    return matrix


def linear_matrix(positions: np.ndarray, size: int) -> np.ndarray:
    """(N, size) linear interpolation at positions (N,) of an axis with ``size`` voxels, edge values continued."""
    clipped = np.clip(positions, 0, size - 1)
    left = np.minimum(np.floor(clipped).astype(int), max(size - 2, 0))
    right = np.minimum(left + 1, size - 1)
    matrix = np.zeros((len(positions), size))
    rows = np.arange(len(positions))
    np.add.at(matrix, (rows, left), 1 - (clipped - left))
    np.add.at(matrix, (rows, right), clipped - left)
    return matrix


def along(matrix: np.ndarray, volume: Tensor, axis: int) -> Tensor:
    """``matrix`` (M, N) applied to one axis of a tensor."""
    weights = torch.as_tensor(matrix, dtype=volume.dtype, device=volume.device)
    return torch.movedim(torch.tensordot(weights, volume, dims=([1], [axis])), 0, axis)


def resample_aligned(
    array: Tensor, affine: np.ndarray, order: tuple[int, ...], grid: np.ndarray, size: tuple[int, ...], labels: bool
) -> Tensor:
    """An array (X, Y, Z) whose axes run along those of the patient on a grid, axis by axis and slab by slab.

    Before a reduction a Gaussian keeps fine structures from aliasing; its width is the difference of both point spread
    functions (Cardoso et al., MICCAI 2015). Labels come from the nearest voxel.
    """
    array = array.permute(order)
    positions, smoothing = [], []
    for axis in range(3):
        step = affine[axis, order[axis]]
        world = grid[axis, 3] + np.arange(size[axis]) * grid[axis, axis]
        positions.append((world - affine[axis, 3]) / step)
        new, old = grid[axis, axis], abs(step)
        smoothing.append(np.sqrt(new**2 - old**2) / FWHM_PER_SIGMA / old if new > 1.01 * old else 0.0)
    shape = tuple(array.shape)
    if labels:
        for axis in range(3):
            nearest = np.clip(np.floor(positions[axis] + 0.5), 0, shape[axis] - 1).astype(np.int64)
            array = array.index_select(axis, torch.as_tensor(nearest, device=array.device))
        return array.contiguous()
    matrices = [linear_matrix(positions[a], shape[a]) @ gaussian_matrix(shape[a], smoothing[a]) for a in range(3)]
    depth = max(1, SLAB_VALUES // max(1, shape[0] * shape[1]))
    slabs = []
    for first in range(0, shape[2], depth):
        slab = array[:, :, first : first + depth].float()
        slabs.append(along(matrices[1], along(matrices[0], slab, 0), 1))
    return along(matrices[2], torch.cat(slabs, dim=2), 2).contiguous()


def resample_oblique(
    array: Tensor, affine: np.ndarray, grid: np.ndarray, size: tuple[int, ...], labels: bool
) -> Tensor:
    """An array (X, Y, Z) at any angle on a grid; air or label 0 outside of it."""
    target = grid_image(ras_to_lps(grid), size)
    image = resample(to_sitk(array.cpu().numpy(), affine), target, 0 if labels else LOWEST_HU, labels)
    return torch.as_tensor(np.ascontiguousarray(sitk.GetArrayFromImage(image).T), device=array.device)


def to_grid(volume: MetaTensor, spacing_mm: float, smoothing_sigma: float = 0.0, labels: bool = False) -> MetaTensor:
    """A volume of any orientation on an isotropic RAS grid that covers all of it.

    Args:
        volume: (1, X, Y, Z) with its affine (RAS mm).
        spacing_mm: of the new voxels.
        smoothing_sigma: of a Gaussian in new voxels, on top of what avoids aliasing (intensities alone).
        labels: whether the values are labels.

    Returns:
        (1, X', Y', Z') float32, or labels of the type of ``volume``; its affine leads to the same RAS mm.
    """
    affine = volume_affine(volume)
    array = volume.as_tensor()[0]
    shape = tuple(int(n) for n in array.shape)
    grid, size = bounding_grid(affine, shape, spacing_mm)
    order = axis_order(affine, shape)
    if order is None:
        result = resample_oblique(array, affine, grid, size, labels)
    else:
        result = resample_aligned(array, affine, order, grid, size, labels)
    if smoothing_sigma > 0 and not labels:
        for axis in range(3):
            result = along(gaussian_matrix(size[axis], smoothing_sigma), result, axis)
    return MetaTensor(result[None], affine=torch.as_tensor(grid))
