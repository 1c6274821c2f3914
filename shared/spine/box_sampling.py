"""Boxes of one grid in the voxels of another, and the values at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry.frames import box_corners, transform_points

SLAB_VOXELS = 4_000_000
Box = tuple[slice, slice, slice]


def covered_box(
    low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray, to_volume: np.ndarray, shape: Sequence[int]
) -> Box | None:
    """Voxels of a volume inside the hull of a box of another grid; None where they do not meet.

    Args:
        low: first index (3,) of the box in its own grid.
        high: last index.
        to_volume: (4, 4) from indices of that grid to those of the volume.
        shape: of the volume.
    """
    points = transform_points(to_volume, box_corners(np.asarray(low), np.asarray(high)))
    start = np.maximum(np.ceil(points.min(axis=0) - 1e-6), 0).astype(int)
    stop = np.minimum(np.floor(points.max(axis=0) + 1e-6) + 1, np.asarray(shape)).astype(int)
    if (stop <= start).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))  # type: ignore[return-value]


def sample_box(values: Tensor, to_values: np.ndarray, box: Box) -> Tensor:
    """Values of a crop at the voxels of a box of another grid, trilinear, 0 outside of the crop.

    Args:
        values: (X, Y, Z) float32.
        to_values: (4, 4) from voxel indices of the other grid to those of ``values``.
        box: voxels of the other grid.

    Returns:
        (*box) float32.
    """
    matrix = torch.as_tensor(to_values, dtype=torch.float32, device=values.device)
    # grid_sample takes -1 and 1 as the centres of the first and the last voxel, and the last axis first.
    scale = 2.0 / torch.tensor([max(size - 1, 1) for size in values.shape], device=values.device)
    lengths = [part.stop - part.start for part in box]
    axis = int(np.argmax(lengths))
    thick = max(1, SLAB_VOXELS * lengths[axis] // max(int(np.prod(lengths)), 1))
    slabs = []
    for start in range(box[axis].start, box[axis].stop, thick):
        part = list(box)
        part[axis] = slice(start, min(start + thick, box[axis].stop))
        grid = matrix[:3, 3]
        for index, cut in enumerate(part):
            line = torch.arange(cut.start, cut.stop, device=values.device, dtype=torch.float32)
            shape = [1, 1, 1, 3]
            shape[index] = -1
            grid = grid + (line[:, None] * matrix[:3, index]).view(shape)
        grid = (grid * scale - 1.0).flip(-1)
        slabs.append(F.grid_sample(values[None, None], grid[None], align_corners=True)[0, 0])
    return torch.cat(slabs, dim=axis)
