"""Skin, fat, muscles, lungs and the abdominal cavity: the tissues that fill the whole grid.

They are painted in slabs of a few slices, which bounds the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..box import Box
from ..sdf import Array, coverage, ellipse
from .canvas import TISSUES, Voxels
from .profile import Profile, height_of
from .spine_curve import Spine

Curves = tuple[Array, Array, Array, Array]  # middle x, middle y, half width, half depth over z
SKIN_POWER, CAGE_POWER = 2.5, 2.4
SKIN_MM = 1.8
CROTCH = 32.3  # level below which there are two thighs
SLAB = 24  # slices


@dataclass(frozen=True)
class Build:
    """What differs between patients."""

    dome: float  # level of the diaphragm's right dome
    lung_hu: float
    muscle: float  # thickness of the muscles of the trunk relative to average
    streaks: float  # amount of fat between the muscle bellies


def random_build(profile: Profile, rng: np.random.Generator) -> Build:
    """Draw a build; fat patients have fatter muscles."""
    return Build(
        dome=float(np.clip(rng.normal(16.6, 0.7), 15.2, 18.0)),
        lung_hu=float(np.clip(rng.normal(-845, 40), -920, -730)),
        muscle=float(np.clip(rng.normal(1.0, 0.2), 0.6, 1.5)),
        streaks=float(rng.uniform(0.03, 0.10) + 0.004 * profile.fat),
    )


@dataclass
class Slab:
    """Some slices of the canvas with what all tissues need there: views of its arrays, textures, outlines."""

    box: Box
    hu: Array
    tissues: Array
    fine: Array
    coarse: Array
    z: Array  # (1, 1, Z), mm
    skin: Array  # distance to the skin
    cage: Array  # distance to the outer surface of the ribs
    cage_curves: Curves  # each (1, 1, Z)
    voxel: float

    def put(self, distance: Array, hu: Array | float, tissue: str) -> None:
        """Replace what is inside the distance by a tissue, with partial volume."""
        self.hu += coverage(distance, self.voxel) * (hu - self.hu)
        self.tissues[distance < 0] = TISSUES[tissue]


def _over_z(curves: Curves) -> Curves:
    """Curves (Z,) in the shape (1, 1, Z)."""
    x, y, a, b = (curve[None, None, :] for curve in curves)
    return x, y, a, b


def outline(box: Box, curves: Curves, power: float) -> Array:
    """Radial distance within the slice to a superellipse with curves middle x, middle y, half width, half depth."""
    x0, y0, a, b = curves
    dx, dy = box.x - x0, box.y - y0
    # |u|^p of the separate axes is cheap; only the root needs every voxel
    level = np.abs(dx / a) ** np.float32(power) + np.abs(dy / b) ** np.float32(power)
    np.maximum(level, 1e-4, out=level)
    return (1.0 - level ** np.float32(-1.0 / power)) * np.sqrt(dx * dx + dy * dy)


def skin_distance(box: Box, profile: Profile) -> Array:
    """Distance to the skin, with two thighs below the crotch."""
    z = box.z[0, 0].astype(float)
    curves = _over_z(profile.skin(z))
    skin = outline(box, curves, SKIN_POWER)
    below = (height_of(profile.spine, CROTCH) - z).astype(np.float32)[None, None, :]
    if below.max() > -80:
        x0, y0, a, b = curves
        thigh = ellipse(np.abs(box.x - x0), box.y, (0.5 * a, y0), (0.5 * a, b * 0.95), 2.0)
        share = np.clip(1.0 + below / 80.0, 0.0, 1.0)  # the trunk turns into the thighs gradually
        skin = np.where(below > 0, thigh, np.maximum(skin, thigh - 90.0 * (1.0 - share)))
    return skin


def paint_soft_tissue(canvas: Voxels, profile: Profile, build: Build) -> None:
    """Everything soft that fills the body, from the skin inwards."""
    for first in range(0, canvas.shape[2], SLAB):
        at = (slice(0, canvas.shape[0]), slice(0, canvas.shape[1]), slice(first, min(first + SLAB, canvas.shape[2])))
        box = Box(at, canvas.axes[0], canvas.axes[1], canvas.axes[2][:, :, at[2]])
        curves = _over_z(profile.cage(box.z[0, 0].astype(float)))
        slab = Slab(
            box,
            canvas.hu[at],
            canvas.tissues[at],
            canvas.texture(box, canvas.fine),
            canvas.texture(box, canvas.coarse),
            box.z,
            skin_distance(box, profile),
            outline(box, curves, CAGE_POWER),
            curves,
            canvas.voxel,
        )
        paint_fat_and_muscle(slab, profile, build)
        z = box.z[0, 0]
        if z.min() < height_of(profile.spine, 7.2) and z.max() > height_of(profile.spine, 31.0):
            paint_cavities(slab, profile, build)


def paint_fat_and_muscle(slab: Slab, profile: Profile, build: Build) -> None:
    """Skin, subcutaneous fat, and muscle: a thin coat on the ribs, thick in neck, abdominal wall and pelvis."""
    spine = profile.spine
    level = np.interp(slab.z, *_levels(spine)).astype(np.float32)
    slab.put(slab.skin, -104.0 + 7.0 * slab.coarse + 6.0 * slab.fine, "fat")
    rim = coverage(slab.skin, slab.voxel) - coverage(slab.skin + SKIN_MM, slab.voxel)
    slab.hu += rim * (15.0 - slab.hu)
    # fat is thin over neck and shoulders and thickest on the flanks
    thickness = 3.0 + profile.fat * np.clip((level - 7.0) / 5.0, 0.3, 1.0)
    muscle = slab.skin + thickness * (1.0 + 0.09 * slab.coarse)
    x0, y0, a, b = slab.cage_curves
    u, v = np.abs(slab.box.x - x0) / a, (slab.box.y - y0) / b
    # coat of the ribs: breast muscles in front, latissimus at the sides, extensors and trapezius behind
    breast = 12.0 * np.exp(-(((level - 11.5) / 2.5) ** 2)) * np.clip(2.0 * v, 0.0, 1.0) * np.clip(3.0 * u, 0.2, 1.0)
    flank = 11.0 * np.exp(-(((level - 13.0) / 4.0) ** 2)) * np.clip(1.2 - 2.0 * np.abs(v + 0.2), 0.0, 1.0)
    back = 42.0 * np.clip(-1.6 * v - 0.5, 0.0, 1.0) * np.clip(1.6 - 2.6 * u, 0.0, 1.0)
    coat = slab.cage - build.muscle * (5.0 + breast + flank + back)
    # only beside the ribs is the muscle that thin
    free = 200.0 * (np.clip(1.0 - (level - 8.3) / 1.5, 0.0, 1.0) + np.clip((level - 19.5) / 2.5, 0.0, 1.0))
    muscle = np.maximum(muscle, coat - free)
    meat = 54.0 + 9.0 * slab.fine + 6.0 * slab.coarse
    septa = np.abs(slab.coarse + 0.35 * slab.fine) < build.streaks
    slab.put(muscle, np.where(septa, -15.0 + 20.0 * slab.fine, meat), "muscle")


def _levels(spine: Spine) -> tuple[Array, Array]:
    """Heights in mm, increasing, and the levels there."""
    levels = np.arange(34.0, -5.0, -1.0)
    return np.array([height_of(spine, v) for v in levels]), levels


def above_diaphragm(slab: Slab, z_top: float) -> Array:
    """How far (mm) a voxel lies above the diaphragm: two domes, the right one higher, recesses behind."""
    x0, y0, a, b = slab.cage_curves
    u = np.abs(slab.box.x - x0) / a
    v = (slab.box.y - y0) / b - 0.12
    left = (slab.box.x < x0).astype(np.float32)
    drop = 92.0 * (1.9 * (u - 0.5) ** 2 + v * v * np.where(v < 0, 1.0, 0.55))
    return slab.z - (z_top - 13.0 * left - drop)


def abdominal_wall(slab: Slab, profile: Profile) -> Array:
    """Distance to the inner surface of the muscles around the abdomen and pelvis."""
    spine = profile.spine
    wall = np.maximum(slab.cage + 12.0, slab.skin + profile.fat + 15.0)
    below_ribs = slab.skin + profile.fat + 16.0
    ease = np.clip((height_of(spine, 21.5) - slab.z) / 40.0, 0.0, 1.0)  # from the ribs to the flanks
    wall = (1.0 - ease) * wall + ease * below_ribs
    cx, cy = (v[None, None, :] for v in profile.centre(slab.z[0, 0].astype(float)))
    pelvic = np.clip((height_of(spine, 24.5) - slab.z) / 110.0, 0.0, 1.0)
    basin = ellipse(slab.box.x - cx, slab.box.y - cy, (0.0, 45.0), (135.0 - 78.0 * pelvic, 220.0 - 150.0 * pelvic))
    return np.maximum(wall, basin)


def paint_cavities(slab: Slab, profile: Profile, build: Build) -> None:
    """Abdominal fat, mediastinum and lungs."""
    spine = profile.spine
    z = slab.z[0, 0].astype(float)
    x0, y0, _, b = slab.cage_curves
    cx, cy = (v[None, None, :] for v in profile.centre(z))
    dx, dy = slab.box.x - cx, slab.box.y - cy
    above = above_diaphragm(slab, height_of(spine, build.dome))
    # the cavity lies in front of the spine and the muscles beside it
    far = np.abs(dx)
    column = np.minimum(
        ellipse(far, dy, (36.0, -44.0), (42.0, 22.0)),  # erector spinae
        ellipse(far, dy, (24.0, -8.0), (34.0, 30.0)),  # psoas and vertebra
    )
    column = np.minimum(column, ellipse(far, dy, (62.0, -26.0), (20.0, 11.0)))  # quadratus lumborum
    floor = height_of(spine, 31.0) - slab.z
    belly = np.maximum(np.maximum(abdominal_wall(slab, profile), -column), np.maximum(above + 4.0, floor))
    slab.put(belly, -98.0 + 8.0 * slab.coarse + 7.0 * slab.fine, "fat")

    # mediastinum: narrow in front of the spine, wider where the heart lies; behind it the lungs reach the ribs
    heights = [height_of(spine, level) for level in (18, 15, 12, 9, 8)]
    width = np.interp(z, heights, [44, 42, 30, 30, 26])[None, None, :].astype(np.float32)
    before = np.clip((dy + 8.0) / 30.0, 0.0, 1.0)
    beside = ellipse(dx, dy, (0.0, -14.0), (29.0 * spine.scale, 36.0 * spine.scale))
    middle = np.minimum(np.abs(dx) - (18.0 + (width - 18.0) * before), beside)
    depth = y0 + b - 22.0 - slab.box.y
    retrosternal = np.minimum(middle, np.abs(slab.box.x - x0) - 22.0 - 0.3 * depth)
    middle = np.where(depth < 0, retrosternal, middle)
    chest = np.maximum(np.maximum(slab.cage + 9.5, -above), slab.z - height_of(spine, 7.3))
    slab.put(np.maximum(chest, middle), -75.0 + 20.0 * slab.coarse + 8.0 * slab.fine, "fat")
    gravity = 0.35 * (y0 - slab.box.y)  # denser at the back of a supine patient
    value = build.lung_hu + gravity + 22.0 * slab.coarse + 18.0 * slab.fine
    slab.put(np.maximum(chest, 3.0 - middle), value, "lung")
