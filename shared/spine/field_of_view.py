"""Where the ends of a scan lie: how far a point is from the slices at which it was cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry.frames import axis_directions, transform_points

CUT_MM = 10.0  # a vertebra whose centre is closer to an end of the scan is cut


class FieldOfView:
    """Box of an image in the world.

    Args:
        affine: (4, 4) from voxel indices to RAS mm; oblique and sheared ones are fine.
        shape: (X, Y, Z).
    """

    def __init__(self, affine: np.ndarray, shape: Sequence[int]) -> None:
        matrix = np.asarray(affine, dtype=float)
        self.inverse = np.linalg.inv(matrix)
        self.shape = np.asarray(shape, dtype=float)
        # mm between neighbouring planes of voxels, which is less than their step where the axes are sheared
        self.plane_mm = 1.0 / np.linalg.norm(self.inverse[:3, :3], axis=1)
        columns = axis_directions(matrix)
        self.axial = int(np.abs(columns[2]).argmax())

    def depths_mm(self, points: np.ndarray) -> np.ndarray:
        """Distance in mm of points (..., 3) from the nearer face along each axis (..., 3); negative outside."""
        index = transform_points(self.inverse, points)
        return np.minimum(index + 0.5, self.shape - 0.5 - index) * self.plane_mm

    def end_depth_mm(self, points: np.ndarray) -> np.ndarray:
        """Distance in mm of points (..., 3) from the nearer cut end, the axis that runs most along the body."""
        return self.depths_mm(points)[..., self.axial]

    def sees(self, points: np.ndarray, margin_mm: float = 0.0) -> np.ndarray:
        """Whether points (..., 3) lie inside, further than a margin from the cut ends."""
        depths = self.depths_mm(points)
        return (depths > 0).all(axis=-1) & (depths[..., self.axial] > margin_mm)
