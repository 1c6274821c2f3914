"""Joining the overlapping crops of single vertebrae into one label map on the grid of the CT, by probability.

Payer et al., VISAPP 2020: each vertebra's probability is resampled to the input grid, its largest component stays,
with its holes filled, and a voxel goes to the vertebra of the highest probability above one half. Work is done inside
the box of each crop alone, in slabs along its longest axis, so that the memory does not depend on the size of the CT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..geometry.volume_box import box_corners

FLOOR = 0.5  # probability that a voxel of a vertebra reaches at least
FAINT = 0.1  # voxels of less probability do not widen the box that is worked on
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
    points = box_corners(np.asarray(low), np.asarray(high)) @ to_volume[:3, :3].T + to_volume[:3, 3]
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


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest component (voxels connected through their faces) of a bool mask; itself where it has at most one."""
    parts, count = ndimage.label(mask)
    return mask if count < 2 else parts == np.bincount(parts.ravel())[1:].argmax() + 1


class LabelMerger:
    """A label map that vertebrae are added to one by one; the order does not matter but for exact ties.

    Args:
        shape: (X, Y, Z) of the CT.
        affine: (4, 4) of the CT.

    The map of the highest probability so far is kept as bytes: steps of 1/255 do not move a border visibly.
    """

    def __init__(self, shape: Sequence[int], affine: np.ndarray) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.from_world = np.linalg.inv(np.asarray(affine, dtype=float))
        self.labels = np.zeros(self.shape, dtype=np.uint8)
        self.best = np.zeros(self.shape, dtype=np.uint8)
        self.boxes: dict[int, Box] = {}

    def add(self, label: int, probability: Tensor, affine: np.ndarray) -> int:
        """Add the probability (X, Y, Z) of one vertebra, whose crop has this affine (4, 4).

        Returns:
            number of voxels that it got.
        """
        support = torch.nonzero(probability > FAINT)
        if len(support) == 0:
            return 0
        low = support.min(dim=0).values.cpu().numpy() - 1
        high = support.max(dim=0).values.cpu().numpy() + 1
        to_volume = self.from_world @ np.asarray(affine, dtype=float)
        box = covered_box(low, high, to_volume, self.shape)
        if box is None:
            return 0
        sampled = sample_box(probability.float(), np.linalg.inv(to_volume), box).cpu().numpy()
        own = ndimage.binary_fill_holes(largest_component(sampled >= FLOOR))
        level = np.where(own, np.ceil(sampled * 255).clip(min=1), 0).astype(np.uint8)
        won = level > self.best[box]
        self.best[box][won] = level[won]
        self.labels[box][won] = label
        self.boxes[label] = box
        return int(won.sum())

    def finish(self) -> np.ndarray:
        """The label map (X, Y, Z) uint8, one component per label: what a neighbour has cut off is dropped."""
        for label, box in self.boxes.items():
            mask = self.labels[box] == label
            self.labels[box][mask & ~largest_component(mask)] = 0
        return self.labels
