"""Points in the frames of an image: array indices, indices of the file, similarity transforms between point sets."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from .shared.geometry.frames import transform_points


def to_file_indices(points: Tensor, image: MetaTensor) -> Tensor:
    """Indices of a transformed image (..., D) to indices of the file that it was read from."""
    original = torch.as_tensor(image.meta["original_affine"]).double()
    return transform_points(torch.linalg.inv(original) @ image.affine.double().cpu(), points)


def pixel_sizes(affine: Tensor | np.ndarray) -> np.ndarray:
    """Distances (2,) between neighbouring pixels along x and y, in the unit of a (4, 4) affine."""
    return np.linalg.norm(np.asarray(torch.as_tensor(affine), dtype=float)[:3, :2], axis=0)


def fit_similarity(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Least-squares rotation, isotropic scale and shift between 2-D point sets, never a reflection.

    Written with complex numbers, target = a source + b, the problem is a linear regression.

    Args:
        source: (K, 2).
        target: (K, 2).
        weights: (K,), not all zero; equal where omitted.

    Returns:
        (3, 3) float64 matrix from source to target and the residual distances (K,) in units of the target.
    """
    x, y = (torch.view_as_complex(points.double().contiguous()) for points in (source, target))
    w = torch.ones(len(x), dtype=torch.float64) if weights is None else weights.double()
    w = w / w.sum()
    x_mean, y_mean = (w * x).sum(), (w * y).sum()
    a = (w * (x - x_mean).conj() * (y - y_mean)).sum() / (w * (x - x_mean).abs() ** 2).sum()
    b = y_mean - a * x_mean
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = a.real, -a.imag, b.real
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = a.imag, a.real, b.imag
    return matrix, (a * x + b - y).abs()
