"""The voxel grid of a head and the rules by which tissues are put on it.

Shapes are described in the frame of a typical head, in mm: x to the patient's right, y forwards, z upwards, the origin
midway between the ear canals. Every voxel knows where it lies in that frame, so that pose, size and deformation of a
patient concern this map alone, and CT and MR of one patient show the same shapes on grids of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from ..shared.phantoms.box import Box
from ..shared.phantoms.sdf import Array, coverage

BLOCK = 8  # voxels along each axis of the blocks by which boxes are looked up
KEEP = -1  # leave the organ labels as they are


class HeadCanvas:
    """Values of one modality and organ labels, both (X, Y, Z).

    Args:
        points: (3, X, Y, Z) float32, place of every voxel in the frame of the head.
        voxel_mm: edge of a cube as large as a voxel.
        values: tissue to value.
        organs: names of organs to labels.
    """

    def __init__(self, points: Array, voxel_mm: float, values: dict[str, float], organs: dict[str, int]) -> None:
        self.points, self.voxel_mm, self.table, self.organs = points, voxel_mm, values, organs
        self.values = np.full(points.shape[1:], values["air"], np.float32)
        self.labels = np.zeros(points.shape[1:], np.uint8)
        self.body = np.full(points.shape[1:], np.inf, np.float32)  # distance to the skin, negative inside
        starts = [np.arange(0, size, BLOCK) for size in points.shape[1:]]
        low, high = points, points
        for axis in range(3):
            low = np.minimum.reduceat(low, starts[axis], axis=axis + 1)
            high = np.maximum.reduceat(high, starts[axis], axis=axis + 1)
        self._low, self._high = low, high

    def box(self, low: Array, high: Array) -> Box | None:
        """The voxels that may lie between two corners (3,) in the frame of the head; None where there are none."""
        corners = (-1, 1, 1, 1)
        near = np.asarray(low, np.float32).reshape(corners) - self.voxel_mm
        far = np.asarray(high, np.float32).reshape(corners) + self.voxel_mm
        hit = np.logical_and.reduce((self._high >= near) & (self._low <= far))
        if not hit.any():
            return None
        at = []
        for axis in range(3):
            line = np.flatnonzero(hit.any(axis=tuple(other for other in range(3) if other != axis)))
            at.append(slice(int(line[0]) * BLOCK, min((int(line[-1]) + 1) * BLOCK, self.values.shape[axis])))
        where = (at[0], at[1], at[2])
        return Box(where, *(self.points[(axis, *where)] for axis in range(3)))

    def fill(self, box: Box, distance: Array, tissue: str, organ: str | int = 0) -> None:
        """Put a tissue where the distance is negative, with partial volume at its surface.

        Args:
            organ: its name, 0 for a tissue that belongs to none, KEEP for one inside an organ.
        """
        value = self.table[tissue]
        view = self.values[box.at]
        view += coverage(distance, self.voxel_mm) * (value - view)
        if organ != KEEP:
            self.labels[box.at][distance < 0] = self.organs[organ] if isinstance(organ, str) else organ

    def shape(
        self,
        low: Array,
        high: Array,
        distance: Callable[[Array, Array, Array], Array],
        tissue: str,
        organ: str | int = 0,
    ) -> None:
        """Put a tissue into a shape that lies between two corners (3,), nowhere outside of the skin."""
        box = self.box(low, high)
        if box is not None:
            inside = np.maximum(distance(box.x, box.y, box.z), self.body[box.at] + 1.0)
            self.fill(box, inside, tissue, organ)


class Variation:
    """Differences between patients: numbers that depend on the patient and on a name, not on the order of questions.

    Args:
        seed: of the patient.
        amount: 0 makes everybody alike, 1 is usual.
    """

    def __init__(self, seed: int, amount: float = 1.0) -> None:
        self.seed, self.amount = seed, amount

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def normal(self, name: str, size: int = 1) -> Array:
        """Standard normal numbers (size,), cut at 2."""
        return np.clip(self._generator(name).normal(size=size), -2, 2) * self.amount

    def uniform(self, name: str) -> float:
        """Between 0 and 1, whatever the amount."""
        return float(self._generator(name).uniform())

    def scale(self, name: str, spread: float = 0.08) -> float:
        """A factor near 1."""
        return float(np.exp(spread * self.normal(f"scale {name}")[0]))

    def shift(self, name: str, spread_mm: float = 1.0) -> Array:
        """A displacement (3,) in mm."""
        return spread_mm * self.normal(f"shift {name}", 3)
