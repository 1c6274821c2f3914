"""Parts of a CT in any orientation that lie in a box along the patient's axes."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from .frames import box_corners, outer_bounds, transform_points
from .grids import volume_affine

MARGIN_VOXELS = 4  # interpolation and the smoothing before it look beyond the box


def file_name(volume: MetaTensor) -> str:
    """Path of the file that a volume was read from, for messages."""
    return str(volume.meta.get("filename_or_obj", "volume"))


def volume_bounds(volume: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (3,) in RAS mm of the box around a whole volume (1, X, Y, Z), its outer edges."""
    return outer_bounds(volume_affine(volume), volume.shape[1:])


def cut_box(volume: MetaTensor, low_mm: np.ndarray, high_mm: np.ndarray) -> MetaTensor:
    """The voxels of a volume in and around a box, without a copy.

    Args:
        volume: (1, X, Y, Z) with its affine (RAS mm), in any orientation.
        low_mm: lowest corner (3,) in RAS mm.
        high_mm: highest corner.

    Returns:
        (1, x, y, z) with its own affine; at least one voxel of the nearest border where box and volume do not meet.
    """
    affine = volume_affine(volume)
    inverse = np.linalg.inv(affine)
    indices = transform_points(inverse, box_corners(low_mm, high_mm))
    last = np.array(volume.shape[1:]) - 1
    margin = MARGIN_VOXELS
    start = np.clip(np.floor(indices.min(axis=0)).astype(int) - margin, 0, last)
    stop = np.clip(np.ceil(indices.max(axis=0)).astype(int) + margin, start, last) + 1
    (x0, y0, z0), (x1, y1, z1) = start, stop
    part = affine.copy()
    part[:3, 3] = transform_points(affine, start)
    return MetaTensor(volume.as_tensor()[:, x0:x1, y0:y1, z0:z1], affine=torch.as_tensor(part))
