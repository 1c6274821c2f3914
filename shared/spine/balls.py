"""Points as a label map of small balls, which is how a viewer of label maps can show landmarks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from monai.data import MetaTensor

from ..geometry.frames import box_corners, transform_points
from ..geometry.grids import volume_affine
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
        nearest = np.round(transform_points(inverse, point)).astype(int)
        if ((nearest >= 0) & (nearest < shape)).all():
            labels[tuple(nearest)] = label
        corners = transform_points(inverse, box_corners(point - radius_mm, point + radius_mm))
        box = covered_box(corners.min(axis=0), corners.max(axis=0), np.eye(4), shape)
        if box is None:
            continue
        index = np.stack(np.meshgrid(*[np.arange(part.start, part.stop) for part in box], indexing="ij"), axis=-1)
        distance = np.linalg.norm(transform_points(affine, index) - point, axis=-1)
        labels[box][distance <= radius_mm] = label
    return MetaTensor(torch.from_numpy(labels)[None], meta=dict(volume.meta))
