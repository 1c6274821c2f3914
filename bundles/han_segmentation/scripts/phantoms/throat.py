"""Airway, larynx, gullet, thyroid and vessels of the neck."""

from __future__ import annotations

import numpy as np

from ..shared.phantoms.sdf import Array, ellipse
from .canvas import KEEP, HeadCanvas, Variation
from .shapes import put_ellipsoid, put_ring, put_tube
from .skull import SIDES

LARYNX_Y = 24.0


def paint_vessels(canvas: HeadCanvas, vary: Variation) -> None:
    """Carotid arteries up to the base of the skull, jugular veins of unequal width."""
    for sign, side in SIDES:
        flip = np.array([sign, 1, 1])
        course = [(24, 6, -215), (27, 8, -185), (30, 9, -150), (29, 8, -115), (28, 5, -95), (27, 1, -60), (25, 7, -27)]
        wave = vary.shift(f"carotid {side}", 1.5)
        points = [np.array(p) * flip + wave * (0.4 if i in (0, 6) else 1) for i, p in enumerate(course)]
        vein = 4.2 * vary.scale(f"vein {side}", 0.15) * (1.2 if side == "R" else 0.9)
        beside = [p + np.array([sign * 8.0, -3, 0]) for p in points]
        put_tube(canvas, beside, [vein], "vein")
        radii = np.array([3.8, 3.7, 3.5, 4.0, 2.9, 2.7, 2.6]) * vary.scale(f"carotid {side}", 0.06)
        put_tube(canvas, points, radii.tolist(), "artery", f"A_Carotid_{side}")
        put_tube(canvas, [points[3], np.array([31, 12, -85]) * flip, np.array([43, 4, -45]) * flip], [2.2], "artery")


def put_slab(
    canvas: HeadCanvas,
    heights: tuple[float, float],
    y: float,
    radii: tuple[float, float],
    tissue: str,
    organ: str | int = 0,
) -> None:
    """An upright elliptical cylinder around the midline, mm."""

    def distance(px: Array, py: Array, pz: Array) -> Array:
        across = ellipse(px, py, (0.0, y), radii)
        return np.maximum(across, np.maximum(heights[0] - pz, pz - heights[1]))

    low, high = np.array([-radii[0], y - radii[1], heights[0]]), np.array([radii[0], y + radii[1], heights[1]])
    canvas.shape(low, high, distance, tissue, organ)


def paint_throat(canvas: HeadCanvas, vary: Variation) -> None:
    """Pharynx, larynx with its cartilages, trachea, oesophagus, thyroid."""
    walls = [(0, 30, -12), (0, 21, -45), (0, 20, -80), (0, 18, -115), (0, 12, -140)]
    put_tube(canvas, walls, [15, 13, 13, 13, 10], "pharynx", flat=(1.15, 0.7, 1))
    down = float(vary.shift("larynx", 3.0)[2])
    at = LARYNX_Y
    size = vary.scale("larynx", 0.06)
    for sign, _ in SIDES:
        put_tube(canvas, [(sign * 20, 18, -93 + down), (sign * 13, 36, -95 + down)], [2.6], "cortex")  # hyoid
    put_tube(canvas, [(-13, 36, -95 + down), (0, 40, -95 + down), (13, 36, -95 + down)], [3.0], "cortex")
    put_ring(canvas, (0, at, -120 + down), (19 * size, 17 * size), 2.8, 24, "cartilage", front_only=True)
    put_slab(canvas, (-122 + down, -99 + down), at, (15 * size, 13.5 * size), "larynx", "Larynx_SG")
    put_slab(canvas, (-131 + down, -122 + down), at, (12 * size, 13 * size), "glottis", "Glottis")
    put_ring(canvas, (0, at, -136 + down), (14 * size, 13 * size), 3.0, 9, "cartilage")
    for sign, side in SIDES:
        spot = np.array([sign * 6.0, at - 9.5, -121 + down]) + vary.shift(f"arytenoid {side}", 0.5)
        put_ellipsoid(canvas, spot, (3.4, 3.6, 5.5), "arytenoid", "Arytenoid")
    inlet = np.array([0, 10.0, -139.5 + down])
    put_ellipsoid(canvas, inlet, np.array([12, 4.2, 7.5]) * size, "pharynx", "Cricopharyngeus")
    gullet = [(0, 9.5, -147 + down), (1, 8.5, -160 + down), (-2, 4, -178 + down)]
    thick = 5.0 * vary.scale("oesophagus", 0.08)
    put_tube(canvas, gullet, [thick], "oesophagus", "Esophagus_S", flat=(1.5, 1, 0.4))
    put_tube(canvas, [gullet[2], (-3, -2, -200), (-3, -8, -240)], [thick], "oesophagus", flat=(1.5, 1, 0.4))
    put_tube(canvas, [gullet[0], gullet[1]], [1.2], "air", KEEP)
    paint_thyroid(canvas, vary, down)
    paint_airway(canvas, vary, down)


def paint_thyroid(canvas: HeadCanvas, vary: Variation, down: float) -> None:
    """Two lobes, the right one larger, joined before the trachea."""
    for sign, side in SIDES:
        size = vary.scale(f"thyroid {side}", 0.1) * (1.08 if side == "R" else 0.94)
        lobe = np.array([sign * 18.5, 20, -150 + down]) + vary.shift(f"thyroid {side}", 1.0)
        put_ellipsoid(canvas, lobe, np.array([8.5, 10, 20]) * size, "thyroid", "Glnd_Thyroid")
    bridge = [(-14, 29, -154 + down), (0, 34, -154 + down), (14, 29, -154 + down)]
    put_tube(canvas, bridge, [3.2], "thyroid", "Glnd_Thyroid", flat=(1, 1, 2.2))
    put_tube(canvas, [(0, 23, -142 + down), (0, 20, -180), (0, 5, -240)], [10.5], "cartilage")


def paint_airway(canvas: HeadCanvas, vary: Variation, down: float) -> None:
    """Air from the nose to the trachea; inside the larynx it belongs to the organ."""
    wide = vary.scale("airway", 0.12)
    at = LARYNX_Y
    path = [(0, 44, -12), (0, 30, -14), (0, 21, -30), (0, 20, -62), (0, 22, -92 + down)]
    put_tube(canvas, path, [5.5, 6.5 * wide, 5 * wide, 5 * wide, 6 * wide], "air", flat=(1.5, 1, 1))
    put_tube(canvas, [(0, 23, -92 + down), (0, at - 1, -112 + down)], [6.0, 6.0], "air", KEEP, flat=(1.2, 1, 1))
    put_tube(canvas, [(0, 29, -88 + down), (0, 27, -104 + down)], [1.6, 1.8], "cartilage", KEEP, flat=(6, 1, 1))
    for sign in (-1, 1):  # piriform sinuses
        put_ellipsoid(canvas, (sign * 12.5, at - 9, -112 + down), (3, 3.5, 8), "air")
    put_tube(canvas, [(0, at, -112 + down), (0, at + 1, -120 + down)], [5.5, 3.0], "air", KEEP)
    put_tube(canvas, [(0, at + 1, -120 + down), (0, at + 1, -131 + down)], [3.0, 3.5], "air", KEEP, flat=(0.6, 2, 1))
    trachea = [(0, at, -133 + down), (0, 23, -145 + down), (0, 20, -180), (0, 5, -240)]
    put_tube(canvas, trachea, [6.0, 8.0, 8.5, 8.5], "air")
