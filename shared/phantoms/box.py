"""A part of the voxel grid of a phantom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass
class Box:
    """Slices of a grid, and where its voxels lie in the frame of the phantom, mm.

    Attributes:
        at: along the three axes of the grid.
        x, y, z: of the voxels in the box, of shapes that broadcast to its shape.
    """

    at: tuple[slice, slice, slice]
    x: Array
    y: Array
    z: Array
