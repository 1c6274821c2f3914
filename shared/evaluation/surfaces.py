"""Distances between the surfaces of two masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.metrics.utils import get_mask_edges, get_surface_distance

from ..geometry.masks import label_box


def surface_distances(
    first: np.ndarray, second: np.ndarray, spacing_mm: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm of each surface voxel of a mask to the surface of the other one, there and back.

    Surfaces and their distances are MONAI's. The border of the array is a surface as well.

    Args:
        first, second: bool (X, Y, Z) of one shape, both with some voxel.
        spacing_mm: along each axis.

    Returns:
        (N,) and (M,) float64.
    """
    box = label_box(first | second, [True])
    if box is None:
        raise ValueError("masks without a voxel have no surface")
    inside = tuple(slice(low, high) for low, high in zip(*box, strict=True))
    edges = get_mask_edges(np.pad(first[inside], 1), np.pad(second[inside], 1), crop=False)
    spacing = tuple(float(step) for step in spacing_mm)
    there, back = (
        np.asarray(get_surface_distance(edges[i], edges[1 - i], "euclidean", spacing=spacing), float) for i in (0, 1)
    )
    return there, back
