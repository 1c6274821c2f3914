"""Heart, vessels, airways, lung vessels and the organs of the abdomen: variation around the spine, not anatomy."""

from __future__ import annotations

import numpy as np

from ..sdf import Array, capsule, coverage, ellipsoid
from .canvas import TISSUES, Voxels
from .deep import paint_ellipsoid
from .profile import Profile, height_of


def tube(canvas: Voxels, points: Array, radii: Array, hu: float, tissue: str, wall: float = 0.0) -> None:
    """A vessel along a polyline (N, 3) in mm; `wall` mm of soft tissue around it."""
    for p, q, r, s in zip(points, points[1:], radii, radii[1:], strict=False):
        reach = max(r, s) + wall + 3
        box = canvas.box(np.minimum(p, q) - reach, np.maximum(p, q) + reach)
        if box is None:
            continue
        d = capsule(box.x, box.y, box.z, p, q, float(r), float(s))
        if wall:
            canvas.fill(box, d - wall, 45.0, "soft")
        canvas.fill(box, d, hu + 6.0 * canvas.texture(box, canvas.fine), tissue)


def paint_chest_organs(canvas: Voxels, profile: Profile, contrast: float, rng: np.random.Generator) -> None:
    """Heart, great vessels, trachea, oesophagus, vessels of the lungs."""
    spine = profile.spine
    s = spine.scale

    def point(level: float, dx: float, dy: float) -> Array:
        return spine.at(min(level, 26.0)) + np.array([dx, dy, 0.0]) * s

    apex_level = 15.6 + rng.normal(0, 0.4)
    z = height_of(spine, apex_level)
    x0, y0, _, b = (float(v) for v in profile.cage(np.array(z)))
    centre = np.array([x0 - 20.0, y0 + 0.36 * b, z + 8])
    blood = 42.0 + 0.8 * contrast
    _paint_heart(canvas, centre, blood, s)
    arch = [
        centre + [14, 6, 34],
        point(12.6, 16, 62),
        point(11.6, 8, 52),
        point(11.3, -8, 34),
        point(11.8, -18, 20),
        point(12.6, -20, 14),
        *(point(level, -19 + 1.2 * (level - 13), 26 - 0.1 * (level - 14)) for level in np.arange(13.5, 23.6, 1.0)),
    ]
    calibre = np.interp(np.arange(len(arch)), [0, 3, 6, len(arch)], [15, 13.5, 12.0, 8.5]) * s
    aorta_hu = 40.0 + contrast
    tube(canvas, np.array(arch), calibre, aorta_hu, "aorta", 1.5)
    for side in (1, -1):
        iliac = [point(23.6, -4, 25), point(24.6, side * 22, 24), point(26, side * 42, 22)]
        groin = spine.sacrum.centre + np.array([side * 72, 62, -85]) * s
        tube(canvas, np.array([*iliac, groin]), np.array([6.5, 6.0, 5.5, 5.0]), aorta_hu, "aorta", 1.0)
        vein = np.array([*iliac, groin]) + [side * 3, -12, 0]
        tube(canvas, vein, np.array([7.0, 7, 7, 6]), 45 + 0.4 * contrast, "vein")
        neck = [point(10.4, side * 12, 44), point(8.0, side * 22, 30), point(5, side * 24, 18), point(1, side * 26, 10)]
        tube(canvas, np.array(neck), np.array([5.0, 4, 4, 3.5]), aorta_hu, "aorta")
        tube(canvas, np.array(neck) + [side * 10, -2, 0], np.array([6.0, 6, 5, 5]), 45 + 0.6 * contrast, "vein")
    cava = [centre + [30, -8, 55], point(10.6, 26, 50), point(9.6, 26, 50)]
    tube(canvas, np.array(cava), np.array([9.0, 9, 8]), 45 + 1.2 * contrast, "vein")
    lower = [point(level, 21, 27) for level in np.arange(17.5, 24.1, 1.0)]
    tube(canvas, np.array(lower), np.full(len(lower), 10.5), 45 + 0.5 * contrast, "vein")
    gullet = [point(level, -4, 21) for level in np.arange(6.0, 17.6, 1.0)]
    tube(canvas, np.array(gullet), np.full(len(gullet), 7.0), 32.0, "soft")
    trachea = [point(5, 0, 34), point(8, 0, 31), point(10, 2, 29), point(12.0, 4, 29)]
    tube(canvas, np.array(trachea), np.array([8.5, 8.5, 8.5, 8.5]), -985.0, "airway", 1.8)
    for side in (1, -1):
        hilum = point(13.2, side * 44, 26)
        tube(canvas, np.array([trachea[-1], hilum]), np.array([7.0, 5.0]), -980.0, "airway", 1.5)
        artery = np.array([point(12.8, side * 14, 42), point(13.3, side * 46, 30)])
        tube(canvas, artery, np.array([11.0, 8.0]), blood, "heart")
        _lung_vessels(canvas, hilum, side, 40.0 + 0.9 * contrast, rng)


def _paint_heart(canvas: Voxels, centre: Array, blood: float, s: float) -> None:
    """Two overlapping ellipsoids of muscle with blood inside; it pushes the lungs aside."""
    for shift, radii, hu in (
        ((0, 0, 0), (58, 46, 58), 48.0),
        ((12, -14, 14), (44, 36, 46), 48.0),
        ((16, 4, 4), (30, 28, 40), blood),
        ((-18, -6, -6), (26, 24, 32), blood),
    ):
        place, size = centre + np.array(shift) * s, np.array(radii) * s
        box = canvas.box(place - size - 3, place + size + 3)
        if box is not None:
            d = ellipsoid(box.x, box.y, box.z, place, size)
            inner = np.isin(canvas.tissues[box.at], [TISSUES[t] for t in ("lung", "fat", "heart", "soft")])
            canvas.fill(box, np.where(inner, d, 20.0), hu + 6.0 * canvas.texture(box, canvas.fine), "heart")


def _lung_vessels(canvas: Voxels, hilum: Array, side: int, hu: float, rng: np.random.Generator) -> None:
    """Branches from the hilum to the surface of the lung, four generations."""
    ends = [(hilum, np.array([side * 1.0, 0.0, 0.0]), 4.8)]
    for generation in range(4):
        grown = []
        for start, direction, radius in ends:
            for _ in range(12 if generation == 0 else 2):
                turn = direction + rng.normal(0, 0.9 if generation == 0 else 0.4, 3)
                if generation == 0:
                    turn[0] = abs(turn[0]) * side
                turn /= np.linalg.norm(turn)
                end = start + turn * rng.uniform(20, 40)
                thin = radius * rng.uniform(0.62, 0.85)
                box = canvas.box(np.minimum(start, end) - radius - 2, np.maximum(start, end) + radius + 2)
                if box is not None:
                    d = capsule(box.x, box.y, box.z, start, end, radius, thin)
                    lung = canvas.tissues[box.at] == TISSUES["lung"]
                    # thinner than a voxel: the voxel holds only a part of the vessel
                    part = coverage(d, canvas.voxel) * min(1.0, 2.0 * radius / canvas.voxel) * lung
                    view = canvas.hu[box.at]
                    view += part * (hu - view)
                grown.append((end, turn, thin))
        ends = grown


def paint_abdomen(canvas: Voxels, profile: Profile, contrast: float, rng: np.random.Generator) -> None:
    """Liver, spleen, kidneys, stomach, bowel with gas, bladder."""
    spine = profile.spine
    s = spine.scale

    def inside(level: float, u: float, v: float) -> Array:
        """A point in units of the half width and half depth of the cage."""
        z = height_of(spine, level)
        x0, y0, a, b = (float(q) for q in profile.cage(np.array(max(z, height_of(spine, 22)))))
        return np.array([x0 + u * a, y0 + v * b, z])

    def jitter(radii: tuple[float, float, float]) -> Array:
        return np.array(radii) * s * (1 + 0.1 * np.clip(rng.standard_normal(3), -2, 2))

    soft = 0.35 * contrast
    paint_ellipsoid(canvas, inside(18.6, 0.45, 0.05), jitter((74, 92, 72)), 55 + soft, "liver")
    paint_ellipsoid(canvas, inside(17.8, -0.05, 0.45), jitter((70, 45, 36)), 55 + soft, "liver")
    paint_ellipsoid(canvas, inside(18.4, -0.72, -0.25), jitter((28, 46, 50)), 50 + soft, "spleen")
    paint_ellipsoid(canvas, inside(18.2, -0.42, 0.25), jitter((44, 58, 44)), 30.0, "bowel")
    gas = inside(18.0, -0.42, 0.55)
    paint_ellipsoid(canvas, gas, jitter((28, 22, 24)), -880.0, "gas", 4.0)
    for side, level in ((1, 20.7), (-1, 20.3)):
        kidney = spine.at(level) + np.array([side * 62, -2, 0]) * s
        paint_ellipsoid(canvas, kidney, jitter((27, 25, 54)), 38 + 0.8 * contrast, "kidney")
        paint_ellipsoid(canvas, kidney - [side * 12, -4, 0], jitter((11, 11, 26)), -60.0, "fat")
    paint_ellipsoid(canvas, spine.at(20.6) + np.array([0, 48, 0]), jitter((60, 13, 16)), 42 + soft, "soft")
    for _ in range(90):
        level = rng.uniform(19.8, 28.0)
        place = inside(level, rng.uniform(-0.78, 0.78) * (1 if level < 25 else 0.55), rng.uniform(-0.05, 0.9))
        radii = rng.uniform(9, 24, 3)
        paint_ellipsoid(canvas, place, radii, float(rng.uniform(15, 60)), "bowel", 12.0)
        if rng.uniform() < 0.3:
            bubble = place + [0, 0.35 * radii[1], 0]
            paint_ellipsoid(canvas, bubble, 0.65 * radii, float(rng.uniform(-950, -600)), "gas", 15.0)
    for side in (1, -1):  # ascending and descending colon
        for level in np.arange(20.5, 25.5, 0.7):
            place = inside(level, side * 0.78, 0.0)
            paint_ellipsoid(canvas, place, np.array([18.0, 20, 14]), float(rng.uniform(-300, 60)), "bowel", 60.0)
    bladder = spine.sacrum.centre + np.array([0, 68, -105]) * s
    paint_ellipsoid(canvas, bladder, jitter((42, 36, 34)), 8.0, "soft")
