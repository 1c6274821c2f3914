"""Outline of head and neck, muscles, glands, mouth, orbits."""

from __future__ import annotations

import numpy as np

from ..shared.phantoms.sdf import Array, ellipsoid, smooth_union
from .canvas import KEEP, HeadCanvas, Variation
from .shapes import put_ellipsoid, put_tube, tube
from .skull import SIDES, canal

EYE = np.array([31.5, 73.0, 18.0])  # centre of the right one


def outline(x: Array, y: Array, z: Array) -> Array:
    """Distance to the skin."""
    down = np.clip((-25 - z) / 150, -0.3, 1.3)
    middle = -8 - 14 * down
    level = np.sqrt((x / 58) ** 2 + ((y - middle) / 59) ** 2)
    neck = np.maximum((level - 1) * 58, z - 5)
    head = ellipsoid(x, y, z, (0, -4, 38), (77, 98, 96))
    head = smooth_union(head, ellipsoid(x, y, z, (0, 38, -30), (65, 57, 70)), 14)
    head = smooth_union(head, ellipsoid(x, y, z, (0, 14, -38), (69, 60, 52)), 14)
    head = smooth_union(head, ellipsoid(x, y, z, (0, 62, -78), (34, 29, 25)), 14)
    head = smooth_union(head, ellipsoid(x, y, z, (0, 42, -80), (50, 42, 24)), 14)
    head = smooth_union(head, neck, 20)
    head = smooth_union(head, ellipsoid(x, y, z, (0, -28, -240), (200, 78, 74)), 28)
    nose = tube(x, y, z, [(0, 94, 24), (0, 108, -10)], [7, 11])
    head = smooth_union(head, nose, 8)
    head = smooth_union(head, ellipsoid(x, y, z, (0, 90, -50), (27, 10, 13)), 5)
    ears = ellipsoid(np.abs(x), y, z, (80, -14, 2), (5, 14, 27))
    lids = ellipsoid(np.abs(x), y, z, EYE, (16, 13.8, 14))
    return np.minimum(np.minimum(smooth_union(head, lids, 6), ears), head)


def paint_outline(canvas: HeadCanvas, vary: Variation) -> None:
    """Skin and fat; everything else is put inside of it."""
    x, y, z = canvas.points
    canvas.body[:] = outline(x, y, z)
    whole = canvas.box(canvas.points.min(axis=(1, 2, 3)), canvas.points.max(axis=(1, 2, 3)))
    assert whole is not None
    canvas.fill(whole, canvas.body, "skin")
    canvas.fill(whole, canvas.body + 2.5, "fat")


def paint_muscles(canvas: HeadCanvas, vary: Variation) -> None:
    """Neck, chewing and facial muscles."""
    thick = vary.scale("muscle", 0.08)
    for z in range(-30, -235, -15):
        for sign in (-1.0, 1.0):
            line = [(sign * 19, canal(z) - 15, z), (sign * 19, canal(z - 15) - 15, z - 15)]
            put_tube(canvas, line, [17 * thick], "muscle", flat=(1, 0.95, 1))
            line = [(sign * 36, canal(z) + 4, z), (sign * 36, canal(z - 15) + 4, z - 15)]
            put_tube(canvas, line, [8 * thick], "muscle")
            line = [(sign * 9, canal(z) + 26, z), (sign * 9, canal(z - 15) + 26, z - 15)]
            put_tube(canvas, line, [5.0], "muscle")
            if z < -50:
                line = [(sign * 33, canal(z) - 30, z), (sign * 33, canal(z - 15) - 30, z - 15)]
                put_tube(canvas, line, [6.5 * thick], "muscle", flat=(1.7, 1, 1))
    for sign, _ in SIDES:
        line = [(sign * 56, -14, -28), (sign * 47, 0, -85), (sign * 34, 17, -140), (sign * 20, 30, -190)]
        put_tube(canvas, line, [8, 10, 9, 8], "muscle", flat=(0.8, 1.3, 1))
        put_tube(canvas, [(sign * 60, 40, -10), (sign * 55, 22, -62)], [7.0], "muscle", flat=(1, 1.9, 1))  # masseter
        put_tube(canvas, [(sign * 18, 40, -12), (sign * 38, 22, -56)], [6.5], "muscle", flat=(1, 1.5, 1))
        put_tube(canvas, [(sign * 14, 38, 0), (sign * 46, 10, -8)], [6.0], "muscle")
        put_ellipsoid(canvas, (sign * 70, 25, 22), (6, 26, 30), "muscle")  # temporal
        put_tube(canvas, [(sign * 22, 62, -74), (sign * 8, 42, -90)], [6.0], "muscle")
        put_tube(canvas, [(sign * 6, 37, -95), (sign * 9, 30, -185)], [4.5], "muscle", flat=(1.7, 0.8, 1))


def paint_orbits(canvas: HeadCanvas, vary: Variation) -> None:
    """Walls, fat, eyeballs in two segments, muscles, optic nerves, lacrimal glands."""
    for sign, side in SIDES:
        flip = np.array([sign, 1, 1])
        eye = EYE * flip + vary.shift(f"eye {side}", 1.0)
        apex = np.array([15, 36, 22]) * flip
        opening = np.array([33, 76, 18]) * flip
        put_tube(canvas, [apex, opening], [6.0, 21.0], "skull")
        put_tube(canvas, [apex, opening + [0, 10, 0]], [4.0, 19.5], "fat")
        radius = 12.0 * vary.scale("eye", 0.03)
        for dx, dz in ((-1, 0), (1, 0), (0, 1), (0, -1)):
            half = np.array([dx * radius * 0.97 * sign, -1.0, dz * radius * 0.97])
            put_tube(canvas, [apex + half * 0.2, (apex + eye) / 2 + half * 0.9, eye + half], [1.5, 2.2, 1.2], "muscle")
        put_ellipsoid(canvas, eye + [0, radius, 0], (14, 3.5, 12), "skin")  # lids
        nerve = [eye + [-2 * sign, 1 - radius, 0], np.array([22, 49, 20.5]) * flip, np.array([13, 35, 25]) * flip]
        nerve.append(np.array([7, 27, 27]) * flip)
        nerve[1] = nerve[1] + vary.shift(f"nerve {side}", 1.0)
        put_tube(canvas, nerve, [3.4, 3.2, 2.8, 2.6], "csf")
        put_tube(canvas, nerve, [2.4, 2.3, 2.2, 2.2], "optic_nerve", f"OpticNrv_{side}")
        paint_eye(canvas, eye, radius, side)
        gland = EYE * flip + np.array([11.5 * sign, -0.5, 9.5]) + vary.shift(f"lacrimal {side}", 0.7)
        size = vary.scale(f"lacrimal {side}", 0.08)
        put_ellipsoid(canvas, gland, np.array([3.4, 7.2, 6.2]) * size, "lacrimal", f"Glnd_Lacrimal_{side}")


def paint_eye(canvas: HeadCanvas, eye: Array, radius: float, side: str) -> None:
    """One eyeball; the plane behind the lens parts its segments."""
    behind_lens = eye[1] + 0.30 * radius

    def ball(x: Array, y: Array, z: Array) -> Array:
        return ellipsoid(x, y, z, eye, np.full(3, radius))

    low, high = eye - radius, eye + radius
    canvas.shape(low, high, lambda x, y, z: np.maximum(ball(x, y, z), y - behind_lens), "sclera", f"Eye_P{side}")
    canvas.shape(low, high, lambda x, y, z: np.maximum(ball(x, y, z), behind_lens - y), "sclera", f"Eye_A{side}")
    canvas.shape(low, high, lambda x, y, z: np.maximum(ball(x, y, z) + 1.3, y - behind_lens), "vitreous", KEEP)
    canvas.shape(low, high, lambda x, y, z: np.maximum(ball(x, y, z) + 1.3, behind_lens - y), "eye_front", KEEP)
    put_ellipsoid(canvas, eye + [0, 0.47 * radius, 0], (4.6, 2.1, 4.6), "lens", KEEP)


def paint_mouth(canvas: HeadCanvas, vary: Variation) -> None:
    """Oral cavity with tongue and floor of the mouth, cheeks, lips."""
    tongue = np.array([0, 50, -55]) + vary.shift("tongue", 1.0)
    size = vary.scale("tongue", 0.06)
    put_ellipsoid(canvas, tongue, np.array([26, 27, 23]) * size, "tongue", "Cavity_Oral")
    put_ellipsoid(canvas, tongue + [0, -6, -4], (3, 14, 11), "fat", KEEP)
    if vary.uniform("mouth open") < 0.5:
        put_ellipsoid(canvas, tongue + [0, 4, 18], (16, 16, 3), "air", KEEP)
    for sign, side in SIDES:
        cheek = [(sign * 33.5, 68, -50), (sign * 37, 54, -50), (sign * 40, 40, -50)]
        thick = 2.9 * vary.scale(f"cheek {side}", 0.1)
        put_tube(canvas, cheek, [thick], "mucosa", "BuccalMucosa", flat=(1, 1, 4.2))
    lips = np.array([0, 91, -50])
    canvas.shape(
        lips - [26, 9, 14],
        lips + [26, 10, 14],
        lambda x, y, z: np.maximum(ellipsoid(x, y, z, lips, (26, 10, 13)), 84.5 - 0.012 * x * x - y),
        "lips",
        "Lips",
    )


def paint_glands(canvas: HeadCanvas, vary: Variation) -> None:
    """Parotid and submandibular glands, lymph nodes; on one side a tumour."""
    for sign, side in SIDES:
        size = vary.scale(f"parotid {side}", 0.08)
        middle = np.array([sign * 55.5, -4, -33]) + vary.shift(f"parotid {side}", 1.5)
        put_ellipsoid(canvas, middle, np.array([10.5, 18, 26]) * size, "parotid", f"Parotid_{side}")
        deep = [middle + [-sign * 2, 0, -2], middle + [-sign * 15, 8, 0]]
        put_tube(canvas, deep, [9.0, 6.0], "parotid", f"Parotid_{side}", flat=(1, 0.8, 1.3))
        front = [middle + [sign * 1, 12, 4], middle + [sign * 4, 32, 2]]
        put_tube(canvas, front, [6.5, 4.0], "parotid", f"Parotid_{side}", flat=(0.7, 1, 2.0))
        size = vary.scale(f"submandibular {side}", 0.1)
        middle = np.array([sign * 28, 33, -84]) + vary.shift(f"submandibular {side}", 1.2)
        put_ellipsoid(canvas, middle, np.array([9, 14, 12.5]) * size, "submandibular", f"Glnd_Submand_{side}")
        for i, z in enumerate((-78, -100, -120, -142)):
            node = np.array([sign * 41, 8, z]) + vary.shift(f"node {side}{i}", 3.0)
            put_ellipsoid(canvas, node, np.array([3, 4, 5]) * vary.scale(f"node {side}{i}", 0.3), "lymph")


def paint_tumour(canvas: HeadCanvas, vary: Variation) -> None:
    """An enlarged node beside the vessels of one side."""
    sign = 1.0 if vary.uniform("side of tumour") < 0.5 else -1.0
    centre = np.array([sign * 43, 4, -95]) + vary.shift("tumour", 5.0)
    radii = np.array([9, 11, 14]) * (0.7 + 0.7 * vary.uniform("size of tumour"))
    box = canvas.box(centre - radii, centre + radii)
    if box is None:
        return
    free = np.where(canvas.labels[box.at] == 0, 0.0, 5.0)  # leaves the organs whole
    distance = np.maximum(ellipsoid(box.x, box.y, box.z, centre, radii), canvas.body[box.at] + 3.0)
    canvas.fill(box, np.maximum(distance, free - 4.0), "tumour", KEEP)
