"""Points as a label map of small balls, which is how a viewer of label maps can show landmarks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from monai.data import MetaTensor

from ..geometry.grids import volume_affine
from ..geometry.volume_box import box_corners
from .box_sampling import covered_box

RADIUS_MM = 6.0


def ball_map(points: Mapping[int, np.ndarray], volume: MetaTensor, radius_mm: float = RADIUS_MM) -> MetaTensor:
    """Label map (1, X, Y, Z) uint8 on the grid of a volume with a ball around each point.

    Args:
        points: label to (3,) RAS mm; of overlapping balls the later one stays on top.
        volume: (1, X, Y, Z) in any orientation.
        radius_mm: a ball smaller than a voxel still marks the nearest one.
    """
    affine = volume_affine(volume)
    inverse = np.linalg.inv(affine)
    shape = tuple(int(size) for size in volume.shape[1:])
    labels = np.zeros(shape, dtype=np.uint8)
    for label, point in points.items():
        nearest = np.round(inverse[:3, :3] @ point + inverse[:3, 3]).astype(int)
        if ((nearest >= 0) & (nearest < shape)).all():
            labels[tuple(nearest)] = label
        corners = box_corners(point - radius_mm, point + radius_mm) @ inverse[:3, :3].T + inverse[:3, 3]
        box = covered_box(corners.min(axis=0), corners.max(axis=0), np.eye(4), shape)
        if box is None:
            continue
        index = np.stack(np.meshgrid(*[np.arange(part.start, part.stop) for part in box], indexing="ij"), axis=-1)
        distance = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3] - point, axis=-1)
        labels[box][distance <= radius_mm] = label
    return MetaTensor(torch.from_numpy(labels)[None], meta=dict(volume.meta))
