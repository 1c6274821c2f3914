"""Affines, points and frames: from array indices to millimetres and back, RAS and LPS, boxes and isotropic grids.

Affines are homogeneous matrices that lead from array indices to mm. RAS mm, in which x grows to the patient's right, is
the world of NIfTI and of MONAI's arrays here; LPS mm, in which x grows to the left and y to the back, that of DICOM, of
ITK and of the result files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Values = TypeVar("Values", np.ndarray, Tensor)
FLIP = (-1.0, -1.0, 1.0)  # of x, y and z between RAS and LPS


def plain_tensor(values: Any) -> Tensor:
    """Values as a tensor without the metadata of a MetaTensor, which every operation on them would carry along."""
    return torch.as_tensor(values).as_subclass(Tensor)


@overload
def transform_points(affine: ArrayLike | Tensor, points: Tensor) -> Tensor: ...
@overload
def transform_points(affine: ArrayLike | Tensor, points: ArrayLike) -> np.ndarray: ...
def transform_points(affine: Any, points: Any) -> Any:
    """Points through a homogeneous matrix.

    Args:
        affine: (D + 1, D + 1), of which the first D rows count; array or tensor. A larger matrix acts on the first D
            axes alone.
        points: (..., D).

    Returns:
        (..., D): a tensor of their type where the points are a tensor, computed in the wider type of both; else an
        array of float64. NaN stays NaN.
    """
    if isinstance(points, Tensor):
        matrix = torch.as_tensor(affine, device=points.device)
        wide = torch.promote_types(points.dtype, matrix.dtype)
        linear, shift = linear_and_shift(matrix.to(wide), points.shape[-1])
        return (points.to(wide) @ linear.mT + shift).to(points.dtype)
    array = np.asarray(points, dtype=float)
    linear, shift = linear_and_shift(np.asarray(affine, dtype=float), array.shape[-1])
    return array @ linear.T + shift


def linear_and_shift(affine: Any, dims: int) -> tuple[Any, Any]:
    """The part (D, D) of an affine that turns and scales, and the one (D,) that shifts."""
    return affine[:dims, :dims], affine[:dims, -1]


def ras_to_lps(values: ArrayLike) -> np.ndarray:
    """Points (..., 3) from RAS mm to LPS mm, or an affine (4, 4) that leads to the one made to lead to the other."""
    array = np.asarray(values, dtype=float)
    return np.diag([*FLIP, 1.0]) @ array if array.shape == (4, 4) else array * FLIP


def lps_to_ras(values: ArrayLike) -> np.ndarray:
    """Points (..., 3) or an affine (4, 4) from LPS mm to RAS mm: the same change of sign as back."""
    return ras_to_lps(values)


def motion_lps_to_ras(matrix: ArrayLike) -> np.ndarray:
    """A motion (4, 4) that takes LPS mm to LPS mm as one of RAS mm, or the other way round."""
    return np.asarray(matrix, dtype=float) * np.outer([*FLIP, 1.0], [*FLIP, 1.0])


def voxel_sizes(affine: Values) -> Values:
    """Distance in mm of neighbours along each axis of an array, (D,), by its affine (D + 1, D + 1)."""
    steps = affine[:-1, :-1]
    return torch.linalg.vector_norm(steps, dim=0) if isinstance(steps, Tensor) else np.linalg.norm(steps, axis=0)


def axis_directions(affine: Values) -> Values:
    """Unit vectors along the axes of an array as columns (D, D), by its affine (D + 1, D + 1)."""
    return affine[:-1, :-1] / voxel_sizes(affine)


def box_corners(low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """The eight corners (8, 3) of a box from its lowest and its highest (3,)."""
    ends = zip(np.asarray(low, dtype=float), np.asarray(high, dtype=float), strict=True)
    return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)


def outer_corners(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The eight corners (8, 3) in mm of a whole volume, half a voxel beyond the centres of its corner voxels."""
    return transform_points(affine, box_corners(np.full(3, -0.5), np.asarray(shape) - 0.5))


def outer_bounds(affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (3,) in mm of the box around a whole volume, its outer edges."""
    corners = outer_corners(affine, shape)
    return corners.min(axis=0), corners.max(axis=0)


def centred_grid(centre_mm: ArrayLike, size: Sequence[int] | np.ndarray, spacing_mm: float) -> np.ndarray:
    """Affine (4, 4) of an isotropic grid of ``size`` voxels along the axes of the world around a point (3,)."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = np.asarray(centre_mm, dtype=float) - (np.asarray(size) - 1) / 2 * spacing_mm
    return affine


def box_grid(low: ArrayLike, high: ArrayLike, spacing_mm: float) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Isotropic grid along the axes of the world that covers a box and shares its centre: affine (4, 4) and size."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    x, y, z = (max(1, int(n)) for n in np.ceil((high - low) / spacing_mm - 1e-6))
    return centred_grid((low + high) / 2, (x, y, z), spacing_mm), (x, y, z)


def bounding_grid(
    affine: np.ndarray, shape: Sequence[int], spacing_mm: float
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Isotropic grid along the axes of the world that covers a whole volume of any orientation and shares its centre.

    Args:
        affine: (4, 4) of the volume, indices to mm.
        shape: its three sizes.
        spacing_mm: of the grid.

    Returns:
        affine (4, 4) and the three sizes of the grid.
    """
    return box_grid(*outer_bounds(affine, shape), spacing_mm)
