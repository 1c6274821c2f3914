"""The voxel grid of a phantom and the rules by which tissues are put on it.

Frame: patient RAS mm (x to the patient's right, y anterior, z superior); voxel (i, j, k) has its centre at
`origin + spacing * (i, j, k)`. Shapes are evaluated in local boxes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ..box import Box
from ..sdf import Array, coverage

# extra tissues have numbers of their own in the second map; 0 is air and everything not named
TISSUES: dict[str, int] = {
    "soft": 1,
    "fat": 2,
    "muscle": 3,
    "lung": 4,
    "heart": 5,
    "aorta": 6,
    "vein": 7,
    "liver": 8,
    "kidney": 9,
    "spleen": 10,
    "bowel": 11,
    "gas": 12,
    "disc": 13,
    "vertebra": 14,
    "sacrum": 15,
    "rib": 16,
    "sternum": 17,
    "shoulder": 18,
    "skull": 19,
    "hip_left": 20,
    "hip_right": 21,
    "femur_left": 22,
    "femur_right": 23,
    "cartilage": 24,
    "metal": 25,
    "table": 26,
    "canal": 27,
    "airway": 28,
    "brain": 29,
    "clothing": 30,
}
JOINT_GAP_MM = 1.2  # bones of different numbers stay apart by this much
TEXTURE_SIZE = 40  # voxels; the texture repeats after that


@dataclass
class Bone:
    """HU values of a bone."""

    cortex: float
    marrow: float
    cortex_mm: float | Array
    rough: float = 25.0  # standard deviation of the marrow texture, HU


class Voxels:
    """HU image, label map, tissue map and distance to the nearest bone, all (X, Y, Z)."""

    def __init__(self, origin: Any, spacing: Any, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.origin = np.asarray(origin, float)
        self.spacing = np.asarray(spacing, float)
        self.shape = shape
        self.voxel = float(np.prod(self.spacing) ** (1 / 3))
        self.hu = np.full(shape, -1000.0, np.float32)
        self.labels = np.zeros(shape, np.uint8)
        self.tissues = np.zeros(shape, np.uint8)
        self.bone = np.full(shape, 20.0, np.float16)  # distance to the bones painted so far, capped
        self.axes = tuple(
            (self.origin[a] + self.spacing[a] * np.arange(shape[a])).astype(np.float32).reshape(form)
            for a, form in enumerate(((-1, 1, 1), (1, -1, 1), (1, 1, -1)))
        )
        self.fine = self._texture(0.7, rng)
        self.coarse = self._texture(4.0, rng)

    def _texture(self, sigma_mm: float, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal((TEXTURE_SIZE,) * 3).astype(np.float32)
        smooth = gaussian_filter(noise, np.minimum(sigma_mm / self.spacing, 6.0), mode="wrap")
        return smooth / max(float(smooth.std()), 1e-6)

    def texture(self, box: Box, kind: Array) -> Array:
        """Zero-mean unit-variance texture in a box; the same place always has the same texture."""
        index = [np.arange(s.start, s.stop) % TEXTURE_SIZE for s in box.at]
        return kind[np.ix_(*index)]

    def box(self, low: Any, high: Any) -> Box | None:
        """The voxels between two corners in mm; None where there are none."""
        first = np.maximum(np.floor((np.asarray(low) - self.origin) / self.spacing).astype(int), 0)
        last = np.minimum(np.ceil((np.asarray(high) - self.origin) / self.spacing).astype(int) + 1, self.shape)
        if np.any(first >= last):
            return None
        at = (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))
        return Box(at, self.axes[0][at[0]], self.axes[1][:, at[1]], self.axes[2][:, :, at[2]])

    def fill(self, box: Box, distance: Array, hu: Array | float, tissue: str, keep_bone: bool = True) -> None:
        """Put a soft tissue where the distance is negative, with partial volume at its surface.

        Args:
            keep_bone: leave bone that is already there as it is.
        """
        part = coverage(distance, self.voxel)
        inside = distance < 0
        if keep_bone:
            bone = self.bone[box.at]
            part = part * np.clip(0.5 + bone / self.voxel, 0.0, 1.0)
            inside = inside & (bone > 0)
        view = self.hu[box.at]
        view += part * (hu - view)
        self.tissues[box.at][inside] = TISSUES[tissue]

    def fill_bone(self, box: Box, distance: Array, bone: Bone, tissue: str, label: int = 0) -> None:
        """Put a bone with cortex and marrow; it gives way to bones that are there already."""
        known = self.bone[box.at].astype(np.float32)
        distance = np.maximum(distance, JOINT_GAP_MM - known)
        whole = coverage(distance, self.voxel)
        core = coverage(distance + bone.cortex_mm, self.voxel)
        marrow = bone.marrow + bone.rough * (0.8 * self.texture(box, self.fine) + 0.6 * self.texture(box, self.coarse))
        # trabeculae are denser below the cortex
        marrow = marrow + 90.0 * np.exp(np.minimum(distance + bone.cortex_mm, 0.0) / 1.2)
        view = self.hu[box.at]
        view += whole * (bone.cortex - view) + core * (marrow - bone.cortex)
        inside = distance < 0
        self.tissues[box.at][inside] = TISSUES[tissue]
        if label:
            self.labels[box.at][inside] = label
        np.minimum(known, distance, out=known)
        self.bone[box.at] = known
