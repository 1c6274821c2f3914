"""The outlines of a patient along the body axis: rib cage and skin as functions of height.

Everything is in patient RAS mm. Measures are given at continuous levels of the spine (8 = T1, 20 = L1, 26 = S1;
beyond 26 one unit is 30 mm) and interpolated smoothly over z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..sdf import Array
from .spine_curve import Spine

# level: half width of the rib cage, back and front of it before the line of body centres (mm, outer rib surface)
CAGE = (
    (7.0, 42, -22, 34),
    (8.0, 62, -34, 44),
    (9.0, 86, -44, 56),
    (10.0, 102, -49, 70),
    (12.0, 121, -52, 96),
    (14.0, 131, -53, 114),
    (16.0, 137, -53, 126),
    (18.0, 136, -52, 130),
    (20.0, 129, -49, 128),
    (22.0, 124, -46, 118),
)
# level: half width, depth from front to back, share of that depth behind the body centres
SKIN = (
    (-4.0, 74, 190, 0.47),
    (1.0, 74, 180, 0.42),
    (3.0, 66, 140, 0.50),
    (5.0, 62, 128, 0.52),
    (7.0, 72, 140, 0.53),
    (8.2, 150, 158, 0.50),
    (10.0, 186, 184, 0.42),
    (12.0, 178, 208, 0.37),
    (15.0, 168, 224, 0.345),
    (18.0, 164, 226, 0.345),
    (21.0, 155, 216, 0.37),
    (23.0, 155, 210, 0.39),
    (25.0, 166, 212, 0.41),
    (27.0, 178, 220, 0.40),
    (29.0, 184, 222, 0.44),
    (31.0, 184, 214, 0.48),
    (34.0, 180, 196, 0.50),
    (40.0, 170, 184, 0.50),
)


@dataclass(frozen=True)
class Profile:
    """Smooth curves over z; call the methods with arrays of heights in mm."""

    spine: Spine
    cage_curves: PchipInterpolator
    skin_curves: PchipInterpolator
    line: PchipInterpolator
    fat: float  # thickness of the subcutaneous fat at the flank, mm

    def centre(self, z: Array) -> tuple[Array, Array]:
        """x and y of the line of body centres."""
        xy = self.line(z)
        return xy[..., 0].astype(np.float32), xy[..., 1].astype(np.float32)

    def cage(self, z: Array) -> tuple[Array, Array, Array, Array]:
        """Middle x, middle y, half width and half depth of the outer surface of the ribs."""
        width, back, front, x = np.moveaxis(self.cage_curves(z), -1, 0).astype(np.float32)
        return x, (back + front) / 2, width, (front - back) / 2

    def skin(self, z: Array) -> tuple[Array, Array, Array, Array]:
        """Middle x, middle y, half width and half depth of the skin."""
        width, back, front, x = np.moveaxis(self.skin_curves(z), -1, 0).astype(np.float32)
        return x, (back + front) / 2, width, (front - back) / 2


def height_of(spine: Spine, level: float) -> float:
    """z in mm of a continuous level; beyond S1 in steps of 30 mm, above C1 of 20 mm."""
    if level > 26:
        return float(spine.sacrum.centre[2] - 30.0 * (level - 26) * spine.scale)
    if level < 1:
        return float(spine.poses[0].centre[2] + 20.0 * (1 - level) * spine.scale)
    return float(spine.at(level)[2])


def random_profile(spine: Spine, rng: np.random.Generator) -> Profile:
    """Draw build and fat of a patient around a spine."""
    build = spine.scale * (1.0 + 0.05 * np.clip(rng.standard_normal(4), -2, 2))
    fat = float(np.exp(rng.normal(np.log(16.0), 0.45)))
    levels = np.r_[-4.0, 1.0, np.arange(2, 27), 28.0, 40.0]
    heights = np.array([height_of(spine, level) for level in levels])
    points = np.array([spine.at(np.clip(level, 1, 26)) for level in levels])[:, :2]
    points[-2:] += [0.0, 8.0]
    line = PchipInterpolator(heights[::-1], points[::-1], extrapolate=True)
    z = np.linspace(heights[-1], heights[0], 200)
    middle = line(z)
    # the outlines follow the curves of the spine only in part
    smooth = np.stack([np.convolve(np.pad(c, 12, "edge"), np.ones(25) / 25, "valid") for c in middle.T], -1)

    def at(height: float, curve: Array) -> Array:
        return np.array([np.interp(height, z, curve[:, axis]) for axis in range(2)])

    cage = []
    for level, width, back, front in CAGE:
        h = height_of(spine, level)
        own, soft = at(h, middle), at(h, smooth)
        cage.append((h, width * build[0], own[1] + back * spine.scale, soft[1] + front * build[1], soft[0]))
    skin = []
    lowest = min(spine.at(level)[1] for level in (12, 14, 16, 26)) - 58 * spine.scale
    for level, width, depth, share in SKIN:
        h = height_of(spine, level)
        own, soft = at(h, middle), at(h, smooth)
        trunk = np.clip((level - 7.0) / 3.0, 0.0, 1.0)
        back = soft[1] - share * depth * build[1]
        bed = lowest - 12.0 - 0.4 * fat
        back = (1 - 0.6 * trunk) * back + 0.6 * trunk * bed
        back = min(back, own[1] - 62 * spine.scale - 0.3 * fat if level > 7 else back)
        belly = np.exp(-(((level - 22) / 5) ** 2)) * max(fat - 10, 0) * 1.6
        front = soft[1] + (1 - share) * depth * build[1] + (0.5 * fat + belly) * trunk
        skin.append((h, width * build[0] + (fat - 12) * trunk, back, front, soft[0]))
    cage_table, skin_table = np.array(cage)[::-1], np.array(skin)[::-1]
    return Profile(
        spine,
        PchipInterpolator(cage_table[:, 0], cage_table[:, 1:], extrapolate=True),
        PchipInterpolator(skin_table[:, 0], skin_table[:, 1:], extrapolate=True),
        line,
        fat,
    )
