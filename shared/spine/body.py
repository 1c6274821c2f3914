"""The vertebral body inside the mask of a whole vertebra, and its centre.

The body is the thickest part of a vertebra. An opening whose radius is a share of the greatest depth keeps it and takes
the arch with its processes off. On the label maps of verse004, verse010, gl003 and gl017 of the VerSe data set the
centres lie 0.9 mm from the published ones in the mean (at most 2.5 mm), those of the whole masks 11 mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..geometry.frames import transform_points, voxel_sizes
from ..geometry.masks import largest_component
from .labels import VERTEBRA_LABELS, craniocaudal_order

OPENING = 0.65  # radius of the opening as a share of the greatest depth
ATLAS = VERTEBRA_LABELS["C1"]  # a ring without a body: the mean of its voxels


def deepest_part(mask: np.ndarray, spacing_mm: Sequence[float] | np.ndarray, share: float = OPENING) -> np.ndarray:
    """Opening of a mask by a ball, of which the largest piece is kept.

    Args:
        mask: bool (X, Y, Z) with some voxel.
        spacing_mm: (3,).
        share: radius of the ball relative to the greatest depth.

    Returns:
        bool, part of the mask.
    """
    padded = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    radius = share * depth.max()
    inner = largest_component(depth > radius)
    opened = (ndimage.distance_transform_edt(~inner, sampling=spacing_mm) <= radius) & padded
    return opened[1:-1, 1:-1, 1:-1]


def body_mask(mask: np.ndarray, label: int, spacing_mm: Sequence[float] | np.ndarray) -> np.ndarray:
    """Voxels of the body (X, Y, Z) of one vertebra's mask; the whole mask of C1, which has no body."""
    return mask if label == ATLAS else deepest_part(mask, spacing_mm)


def body_centres(labels: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    """Body centres of all vertebrae of a label map, from head to foot; the sacrum and other labels are left out.

    Args:
        labels: whole numbers (X, Y, Z) in those of ``spine_labels``.
        affine: (4, 4) from voxels to RAS mm.

    Returns:
        label to (3,) RAS mm.
    """
    matrix = np.asarray(affine, dtype=float)
    spacing = voxel_sizes(matrix)
    labels = np.asarray(labels)
    if labels.dtype.kind == "f":  # files with a scaling
        labels = np.round(labels).astype(np.int16)
    boxes = ndimage.find_objects(labels)
    centres = {}
    for label in VERTEBRA_LABELS.values():
        box = boxes[label - 1] if label <= len(boxes) else None
        if box is None:
            continue
        body = body_mask(labels[box] == label, label, spacing)
        index = np.argwhere(body).mean(axis=0) + [part.start for part in box]
        centres[label] = transform_points(matrix, index)
    return {label: centres[label] for label in craniocaudal_order(centres)}
