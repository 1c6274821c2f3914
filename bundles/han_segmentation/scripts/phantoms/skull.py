"""Skull, brain and the bones of the face, with sinuses and teeth."""

from __future__ import annotations

import numpy as np

from ..shared.phantoms.sdf import Array, ellipsoid, smooth_union
from .canvas import HeadCanvas, Variation
from .shapes import put_ellipsoid, put_ring, put_tube

SIDES = ((1.0, "R"), (-1.0, "L"))  # sign of x and letter


def cavity(x: Array, y: Array, z: Array) -> Array:
    """Distance to the inner surface of the skull."""
    step = 1 / (1 + np.exp(np.clip((30 - y) / 4, -30, 30)))  # from the middle to the anterior fossa
    floor = np.maximum(4 + 0.28 * y, 31 * step)
    slope = np.maximum(0.28, 31 * step * (1 - step) / 4)
    cerebrum = np.maximum(ellipsoid(x, y, z, (0, -4, 42), (67, 88, 82)), (floor - z) / np.sqrt(1 + slope * slope))
    return smooth_union(cerebrum, ellipsoid(x, y, z, (0, -42, -4), (53, 36, 26)), 8.0)


def paint_skull_and_brain(canvas: HeadCanvas, vary: Variation) -> None:
    """Cranium with marrow, petrous bones, brain in its fluid, ventricles, ears."""
    box = canvas.box(np.array([-82.0, -105, -42]), np.array([82.0, 100, 136]))
    if box is not None:
        distance = cavity(box.x, box.y, box.z)
        thick = 6.5 * vary.scale("skull", 0.12)
        inside_skin = canvas.body[box.at] + 4.0
        canvas.fill(box, np.maximum(distance - thick, inside_skin), "skull")
        canvas.fill(box, np.maximum(np.abs(distance - thick / 2) - thick / 5, inside_skin), "marrow")
        canvas.fill(box, distance, "csf")
        folds = 1.6 * np.sin(box.x / 5) * np.sin(box.y / 6 + 1) * np.sin(box.z / 5.5)
        tentorium = np.abs(box.z - (8 - 0.25 * (box.y + 20))) - 0.8
        tentorium = np.maximum(tentorium, box.y + 15)
        gap = np.minimum(np.abs(box.x) - 1.4, tentorium)
        gap = np.where(box.z > 10, gap, tentorium)
        canvas.fill(box, np.maximum(distance + 3.5 + folds, 1.0 - gap), "brain")
        canvas.fill(box, np.maximum(distance + 12 + 4 * folds, 2.5 - gap), "white")
    for sign, side in SIDES:
        put_tube(canvas, [(sign * 12, -28, 58), (sign * 10, 25, 50)], [5.0 * vary.scale("ventricles", 0.25)], "csf")
        put_tube(canvas, [(sign * 58, -14, -3), (sign * 34, 0, 2), (sign * 15, 13, 3)], [11, 10, 6], "petrous")
        for i in range(7):  # cells of the mastoid
            spot = np.array([sign * 56.0, -16.0, -10.0]) + vary.shift(f"mastoid {side}{i}", 5.0)
            put_ellipsoid(canvas, spot, (3.5, 4, 4), "air")
        put_tube(canvas, [(sign * 80, -2, 0), (sign * 46, 0, 0)], [3.0], "air")  # ear canal
        put_ellipsoid(canvas, (sign * 42, 2, 2), (4, 6, 5), "air")
        cochlea = np.array([sign * 24.5, 5.0, 2.0]) + vary.shift(f"cochlea {side}", 0.6)
        size = vary.scale(f"cochlea {side}", 0.06)
        put_ellipsoid(canvas, cochlea, np.array([6.0, 6, 6]), "petrous")
        put_ellipsoid(canvas, cochlea, np.array([3.6, 3.4, 3.3]) * size, "cochlea", f"Cochlea_{side}")
    put_tube(canvas, [(0, 24, 9), (0, 7, -19)], [5.5, 4.5], "skull", flat=(2.2, 1, 1))  # clivus
    put_tube(canvas, [(0, 23, 8), (0, 9, -16)], [3.0, 2.5], "marrow", flat=(2.2, 1, 1))


def paint_brainstem(canvas: HeadCanvas, vary: Variation) -> None:
    """Midbrain, pons and medulla in the basal cistern."""
    wide = vary.scale("brainstem", 0.05)
    parts = [((0, -2, 26), (15, 12, 11)), ((0, 2, 7), (17.5, 13.5, 14))]
    for centre, radii in parts:
        put_ellipsoid(canvas, centre, np.array(radii) + 4.0, "csf")
    put_tube(canvas, [(0, -4, -6), (0, -12, -26)], [11.5, 10.5], "csf")
    for centre, radii in parts:
        put_ellipsoid(canvas, centre, np.array(radii) * wide, "brainstem", "Brainstem")
    put_tube(canvas, [(0, -4, -4), (0, -12.5, -23)], [8.8, 6.6], "brainstem", "Brainstem", flat=(1.1, 1, 0.5))
    put_ellipsoid(canvas, (0, -14.5, 3), (7, 3.5, 9), "csf")  # fourth ventricle


def paint_sella(canvas: HeadCanvas, vary: Variation) -> None:
    """Sphenoid with its sinus, pituitary, chiasm in its cistern."""
    put_ellipsoid(canvas, (0, 22, 27), (15, 12, 8), "csf")
    put_ellipsoid(canvas, (0, 33, 7), (19, 19, 13), "skull")
    put_ellipsoid(canvas, (0, 36, 7), np.array([13, 12, 9]) * vary.scale("sphenoid", 0.15), "air")
    middle = np.array([0.0, 20, 17.5]) + vary.shift("pituitary", 0.7)
    put_ellipsoid(canvas, middle, np.array([7.0, 5.2, 4.4]) * vary.scale("pituitary", 0.1), "pituitary", "Pituitary")
    level = np.array([0.0, 23, 27]) + vary.shift("chiasm", 0.6)
    arm = np.array([6.0, 1.5, 0])
    ends = [level - arm * [1, -1, 1], level - [1, 0, 0], level + [1, 0, 0], level + arm]
    put_tube(canvas, ends, [2.3, 2.7, 2.7, 2.3], "chiasm", "OpticChiasm", flat=(1, 1.5, 0.9))
    for sign in (-1, 1):
        ends = [level + [sign * 3, -2, 0], level + [sign * 7, -6.5, 0.5]]
        put_tube(canvas, ends, [2.3, 2.0], "chiasm", "OpticChiasm")


def paint_face(canvas: HeadCanvas, vary: Variation) -> None:
    """Nose, sinuses with bony walls, cheek bones, palate."""
    put_ellipsoid(canvas, (0, 62, -24), (36, 30, 20), "skull")  # body of the maxilla
    put_ellipsoid(canvas, (0, 62, -22), (32, 26, 16), "marrow")
    for sign, side in SIDES:
        size = vary.scale(f"maxillary {side}", 0.1)
        put_ellipsoid(canvas, (sign * 29, 60, -12), np.array([15, 18, 18]) * size + 2.0, "skull")
        full = "mucosa" if vary.uniform(f"sinusitis {side}") < 0.15 else "air"
        put_ellipsoid(canvas, (sign * 29, 60, -12), np.array([15, 18, 18]) * size, full)
        put_tube(canvas, [(sign * 40, 74, -10), (sign * 56, 56, -8), (sign * 65, 22, -3)], [6, 5, 3.5], "skull")
        put_ellipsoid(canvas, (sign * 10, 82, 46), np.array([9, 4.5, 9]) * vary.scale(f"frontal {side}", 0.2), "air")
    put_ellipsoid(canvas, (0, 68, -6), (16, 32, 21), "mucosa")
    for sign in (-1, 1):
        put_ellipsoid(canvas, (sign * 5, 68, -2), (3.6, 32, 18), "air")
        put_ellipsoid(canvas, (sign * 11, 70, -14), (2.5, 26, 8), "air")
        for y in (44, 54, 64):
            put_ellipsoid(canvas, (sign * 7, y, 16), (6.5, 6, 10), "skull")
            put_ellipsoid(canvas, (sign * 7, y, 16), (5.3, 4.6, 8.5), "air")
    put_ellipsoid(canvas, (0, 56, -30), (23, 27, 3.5), "skull")
    put_tube(canvas, [(0, 40, -24), (0, 92, 18)], [1.5], "skull", flat=(0.8, 4, 4))  # septum


def dental_arch(front: float, level: float, x: float) -> tuple[float, float, float]:
    """Point of a parabolic arch at a distance x from the midline, mm."""
    return x, front - 36 * (x / 27) ** 2, level


def paint_teeth(canvas: HeadCanvas, vary: Variation, metal: bool) -> None:
    """Two rows of teeth, some missing, with fillings of metal on one side if wished."""
    lateral = (4, 11.5, 17.5, 21.5, 24.5, 27, 29)
    filled = 1.0 if vary.uniform("side of fillings") < 0.5 else -1.0
    rows: dict[str, tuple[float, float, float, str, str | int]] = {
        "upper": (82, -48, -34, "skull", 0),
        "lower": (80, -51, -66, "mandible", "Bone_Mandible"),
    }
    for row, (front, crown, root, bone, organ) in rows.items():
        for sign, side in SIDES:
            middle = (root + crown) / 2 + 4 * np.sign(root - crown)
            points = [dental_arch(front, middle, sign * x) for x in (0, *lateral)]
            put_tube(canvas, points, [4.6], bone, organ, flat=(1, 1, 1.5))
            for i, x in enumerate(lateral):
                if vary.uniform(f"tooth {row}{side}{i}") < 0.1:
                    continue
                top, bottom = dental_arch(front, crown, sign * x), dental_arch(front, root, sign * x)
                put_tube(canvas, [top, bottom], [3.4, 2.0], "tooth")
                if metal and sign == filled and i >= 4 and vary.uniform(f"filling {row}{i}") < 0.7:
                    put_ellipsoid(canvas, top, (3, 3, 2.5), "metal")


def paint_mandible(canvas: HeadCanvas, vary: Variation) -> None:
    """Body, ramus, coronoid and condyle of both sides: cortex around marrow."""
    shift = vary.shift("mandible", 1.0)
    for inner, tissue in ((0.0, "mandible"), (2.3, "mandible_marrow")):
        for sign, side in SIDES:
            high = vary.scale(f"mandible {side}", 0.05)
            flip = np.array([sign, 1, 1])
            body = [(0, 77, -78), (14, 75, -78), (25, 66, -76.5), (34, 51, -73), (41, 34, -69), (45.5, 17, -61)]
            arch = [np.array(p) * flip + shift for p in body]
            put_tube(canvas, arch, [5.8 - inner] * 6, tissue, "Bone_Mandible", flat=(1, 1, 1.8 * high))
            ramus = [np.array(p) * flip + shift for p in [(45.5, 15, -60), (48, 14, -38), (49.5, 13, -20)]]
            put_tube(canvas, ramus, [5.0 - inner, 4.0 - inner, 4.0 - inner], tissue, "Bone_Mandible", flat=(1, 3.3, 1))
            neck = [np.array(p) * flip + shift for p in [(49.5, 6, -20), (50, 7, -7)]]
            put_tube(canvas, neck, [5.0 - inner, 6.0 - inner], tissue, "Bone_Mandible", flat=(1.3, 0.9, 1))
            hook = [np.array(p) * flip + shift for p in [(49, 24, -22), (48, 29, -9)]]
            put_tube(canvas, hook, [4.0 - inner * 0.7, 2.5 - inner * 0.7], tissue, "Bone_Mandible", flat=(0.9, 1.6, 1))


def paint_spine(canvas: HeadCanvas, vary: Variation) -> None:
    """Cervical and first thoracic vertebrae, discs, canal and cord."""
    put_ring(canvas, (0, canal(-36) + 4, -36), (21, 18), 6, 9, "skull")
    put_tube(canvas, [(0, canal(-50) + 15, -52), (0, canal(-36) + 15, -32)], [6.5, 4.5], "cortex")
    for level in range(9):
        z = -52 - 17.3 * level
        y = canal(z)
        wide = 12 + 0.7 * level
        put_ring(canvas, (0, y, z), (15.5, 13), 4.0, 11, "cortex")
        put_tube(canvas, [(0, y + 17, z - 6), (0, y + 17, z + 6)], [8.2], "cortex", flat=(wide / 8.2, 1.05, 0.35))
        put_tube(canvas, [(0, y + 17, z - 5), (0, y + 17, z + 5)], [6.5], "marrow", flat=(wide / 7.6, 1.05, 0.35))
        put_ellipsoid(canvas, (0, y + 17, z - 8.6), (wide - 1, 8, 2.2), "disc")
        long = 22 + 2.2 * level if level else 20
        put_tube(canvas, [(0, y - 12, z), (0, y - 10 - long, z - 8)], [3.6, 4.2], "cortex", flat=(0.8, 1, 1.4))
        for sign in (-1, 1):
            put_ellipsoid(canvas, (sign * 20, y + 2, z), (6, 7, 8), "cortex")
            put_ellipsoid(canvas, (sign * 20, y + 2, z), (4, 5, 6), "marrow")
            put_tube(canvas, [(sign * 17, y + 12, z), (sign * (25 + level), y + 8, z)], [3.5], "cortex")
    levels = np.arange(-26.0, -240.0, -8.0)
    line = [(0.0, canal(z), z) for z in levels]
    put_tube(canvas, line, [9.0], "csf", flat=(1.2, 0.95, 1))
    cord = [(0.0, canal(z), z) for z in levels[levels >= -240]]
    size = 4.4 * vary.scale("cord", 0.05)
    put_tube(canvas, [(0, -13.5, -25.5), *cord[1:]], [size], "cord", "SpinalCord", flat=(1.4, 1, 0.4))


def canal(z: float) -> float:
    """y of the middle of the spinal canal at a height z, mm."""
    down = (-25 - z) / 150
    return float(-13.5 - 12 * down + 5 * np.sin(np.pi * np.clip(down, 0, 1)))
