"""Bones and soft tissue of the hand phantom, laid out around the 37 landmarks.

Everything is described once for the mean shape (mm, see `shape`) and carried to a given hand by the thin-plate
spline that takes the mean landmarks to its landmarks: outlines that pass through a landmark still do so afterwards.
Outlines and widths were sketched by eye over the median of radiographs of children and adolescents warped to the mean
shape; depths were adjusted until brightness profiles across that median were alike.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter

from .projection import (
    BoneCanvas,
    GrowthPlate,
    TubularBone,
    add_flat_bone,
    add_line,
    add_tubular_bone,
    capsule_chain_thickness,
    closed_curve,
    slab_thickness,
)
from .shape import HAND_FINGERS, LANDMARKS, MEAN_SHAPE, METACARPAL_BASES


@dataclass(frozen=True)
class Constitution:
    """What varies between hands apart from the landmarks.

    Attributes:
        maturity: 0 (open growth plates, widely spaced carpals) to 1 (fused).
        cortex: factor on cortical thickness.
        robustness: factor on bone widths.
        soft: factor on the width of the fingers' soft tissue.
        depth: factor on the thickness of palm and wrist.
    """

    maturity: float
    cortex: float
    robustness: float
    soft: float
    depth: float


def random_constitution(rng: np.random.Generator) -> Constitution:
    """Draw a constitution."""
    return Constitution(
        maturity=float(rng.uniform()),
        cortex=float(rng.uniform(0.8, 1.2)),
        robustness=float(rng.uniform(0.92, 1.08)),
        soft=float(rng.uniform(0.95, 1.2)),
        depth=float(rng.uniform(0.88, 1.12)),
    )


# Closed outlines in the mean shape; an int stands for the landmark of that index.
_RADIUS = (
    *(3, (-15, 94), (-14.4, 91.4), (-8, 91), (0, 89.8), (8, 86.8), (14, 83), 5, (21, 84.5), (22, 90), (20.5, 97), 4),
    *((17.2, 106), (15, 114), (13.5, 125), (12.5, 140), (12, 190), (-10, 190), (-11, 140), (-12.5, 125), (-13.4, 110)),
)
_ULNA = (
    *(0, (-34.2, 94), (-33, 89.7), 1, (-29, 88.5), (-27.6, 91), (-24, 91.7), (-20, 92.2), (-17.8, 94), (-17.3, 97), 2),
    *((-19.5, 105), (-21.5, 112), (-23, 125), (-23.5, 140), (-23.5, 190), (-36, 190), (-36.5, 140), (-36, 120)),
    (-35.6, 108),
)
_CARPALS: dict[str, tuple] = {
    "triquetrum": (
        *(6, (-26.5, 77.5), (-29, 71), (-30, 65.5), (-27.5, 62)),
        *((-23, 63.5), (-19.5, 68), (-16.5, 73.5), (-18, 78)),
    ),
    "hamate": (
        *(9, (-16, 67.5), (-20.5, 61.5), (-23, 56.5), (-22, 52.3)),
        *((-16, 50), (-10.5, 50.5), (-8.6, 55), (-9, 64), (-9.6, 70)),
    ),
    "capitate": (
        *(10, (-6, 75), (-8.5, 70), (-8.3, 62), (-7.6, 54), (-6.5, 49.7)),
        *((0, 48.9), (5, 50.5), (7, 56), (6.8, 64), (6.5, 70), (4, 75.5)),
    ),
    "lunate": (
        *(7, (-15, 85.5), (-18, 81.5), (-15.5, 77.5), (-11, 75.2)),
        *((-6, 77.5), (-1, 79.3), (1, 82), (-1, 85.5), (-5, 87.3)),
    ),
    "scaphoid": (
        *(8, (1.5, 84), (1, 80.5), (5, 77), (8, 72), (9.7, 66.5)),
        *((14, 65.2), (19, 67.5), (21, 72), (19, 77.5), (13, 82.3)),
    ),
    "trapezoid": (
        *(11, (11, 61.3), (8.3, 58.5), (8.8, 54), (12, 51.7)),
        *((16, 51.3), (20, 53), (21, 58), (20, 62)),
    ),
    "trapezium": (
        *(12, (19.5, 65.3), (18, 61), (20, 56), (25, 53)),
        *((29.2, 54), (31, 58.5), (33.3, 62.5), (31, 67), (27.5, 69.4)),
    ),
}
_CARPAL_DEPTH_MM = {"triquetrum": 7.0, "trapezoid": 7.5, "trapezium": 7.0}
_PISIFORM = ((-24, 67.5), (-19.5, 70), (-18.5, 75), (-21.5, 79), (-26, 78.5), (-28, 73.5), (-27, 69))
_CARPUS = (
    *((-22, 50), (-8, 48), (6, 48.5), (18, 51), (29, 54), (32, 62), (26, 69), (20, 75), (10, 83), (-6, 86)),
    *((-17, 82), (-24, 79), (-28, 70), (-25, 60)),
)
_SESAMOID = ((56.5, 13), (58.7, 14.5), (58.5, 17.2), (56, 17.8), (54.5, 15.5))
_LINES: tuple[tuple[tuple, float, float], ...] = (
    (((-13.5, 93), (-7, 92.6), (0, 91.6), (7, 88.9), (14, 84.6)), 0.7, 2.4),  # dorsal rim of the radius
    (((-13, 76.3), (-8, 77.6), (-2, 80)), 0.8, 2.2),  # lunate horns over the capitate head
    (((-18, 53), (-14, 52), (-11.5, 55), (-12.5, 59), (-16, 59.5)), 0.6, 1.6),  # hook of the hamate
    (((8, 75.5), (13, 71.5), (17, 67.5)), 0.7, 0.9),  # waist of the scaphoid
    (((21, 54.5), (20.5, 58), (18.5, 62)), 0.6, 1.2),  # trapezium over trapezoid
    (((-10, 50.8), (-4, 49.8), (3, 49.6)), 0.5, 0.8),  # distal row under the metacarpals
)

# Metacarpals: head top and base centre in the mean shape, landmark on the proximal surface, half widths, bow.
_METACARPALS: dict[str, tuple] = {
    "thumb": ((62.6, 16.0), (36.3, 58.6), (7.6, 8.0, 6.4, 5.4, 5.6, 7.0, 7.6), 0.8),
    "index": ((29.0, -30.4), (16.2, 49.5), (9.0, 9.2, 5.8, 5.0, 5.3, 7.6, 7.2), -1.2),
    "middle": ((1.0, -31.4), (0.0, 47.2), (7.2, 7.7, 5.3, 4.7, 5.0, 7.6, 7.3), -0.6),
    "ring": ((-23.2, -21.6), (-13.2, 47.3), (6.8, 7.3, 4.8, 4.0, 4.3, 6.7, 6.5), 0.4),
    "little": ((-44.6, -8.6), (-26.6, 51.0), (7.4, 7.9, 5.2, 4.3, 4.6, 6.5, 6.2), 1.2),
}
_METACARPAL_STATIONS = (0.0, 0.08, 0.3, 0.5, 0.65, 0.87, 1.0)

# Phalanges of the middle finger: half widths of base, waist and head; other fingers by factor.
_PHALANX_WIDTHS = {"proximal": (8.6, 4.9, 5.9), "middle": (7.3, 4.2, 5.5), "distal": (5.9, 2.7, 3.7)}
_PHALANX_FACTOR = {"thumb": 1.05, "index": 0.97, "middle": 1.0, "ring": 0.93, "little": 0.8}
_FLATNESS = {"thumb": 0.63, "index": 0.8, "middle": 0.8, "ring": 0.72, "little": 0.53}
_PHALANX_FLATNESS = {"proximal": 0.95, "middle": 0.85, "distal": 0.78}
_FINGER_RADII: dict[str, tuple[float, ...]] = {
    "thumb": (13.0, 12.4, 11.3, 9.3),
    "index": (12.5, 11.8, 10.9, 9.8, 8.0),
    "middle": (12.5, 12.0, 11.2, 10.1, 8.3),
    "ring": (12.0, 11.5, 10.6, 9.6, 7.9),
    "little": (11.0, 10.1, 9.3, 8.6, 7.2),
}
_PALM = (
    *((-36, 190), (-38, 190), (-43.5, 190), (-43, 125), (-41, 100), (-38.6, 80), (-39, 65), (-44, 45), (-50, 25)),
    *((-56, 5), (-57, -12), (-46, -22), (-36, -34), (-24, -40), (-11, -44), (1, -48), (15, -47), (30, -46), (41, -34)),
    *((45, -18), (52, -4), (62, 0), (74, 10), (74, 24), (62, 46), (48, 67), (36, 84), (29, 100), (25, 125), (23, 190)),
    *((20, 190), (-10, 190)),
)
# Depth of the palm at relative positions from the middle knuckle (0) to the wrist (1). More than anatomical: it
# stands for scattered radiation too, so that brightness along the hand follows real radiographs.
_PALM_DEPTH_MM = ((-0.2, -0.08, 0.0, 0.37, 0.58, 0.85, 1.15), (9.0, 20.0, 26.0, 35.0, 43.0, 52.0, 57.0))
_THENAR = ((28, 52), (29, 25), (33, 0), (42, -2), (52, 4), (58, 14), (54, 30), (44, 48), (36, 56))


class HandWarp:
    """Carries points of the mean shape (mm) to pixels of one hand with (37, 2) `landmarks` in pixels."""

    def __init__(self, landmarks: np.ndarray) -> None:
        self.landmarks = landmarks
        self._spline = RBFInterpolator(MEAN_SHAPE, landmarks, kernel="thin_plate_spline", degree=1)

    def breadth(self, scale: float) -> float:
        """Breadth of the metacarpal bases relative to that of the mean shape, at `scale` pixels per mm."""
        little, index = METACARPAL_BASES["little"], METACARPAL_BASES["index"]
        mean = np.linalg.norm(MEAN_SHAPE[little] - MEAN_SHAPE[index])
        return float(np.linalg.norm(self.landmarks[little] - self.landmarks[index]) / (scale * mean))

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) mm in the mean shape to (N, 2) pixels."""
        return self._spline(np.asarray(points, dtype=float))

    def outline(self, outline: tuple) -> np.ndarray:
        """Outline of points and landmark indices to (N, 2) pixels."""
        return self.points(np.array([MEAN_SHAPE[p] if isinstance(p, int) else p for p in outline]))


def _plate(maturity: float, rng: np.random.Generator, depth_mm: float, width_mm: float = 0.6) -> GrowthPlate:
    """Growth plate of a hand of this maturity: open below 0.55, a dense scar above that fades."""
    stage = maturity + 0.08 * rng.normal()
    openness = 0.75 if stage < 0.4 else 0.75 * (0.55 - stage) / 0.15 if stage < 0.55 else -0.22 * (1.0 - stage)
    return GrowthPlate(depth_mm, float(np.clip(openness, -0.15, 0.75)), width_mm)


def _metacarpal(finger: str, warp: HandWarp, scale: float, body: Constitution, rng: np.random.Generator) -> TubularBone:
    """Metacarpal of a finger, its proximal surface through the landmark of its base."""
    head, base, widths, bow = _METACARPALS[finger]
    end, start = warp.points(np.array([head, base]))
    along = (end - start) / np.linalg.norm(end - start)
    offset = (warp.landmarks[METACARPAL_BASES[finger]] - start) / scale
    u, v = offset @ along, offset @ np.array([-along[1], along[0]])
    slope = float(np.clip(u / v, -1.0, 1.0)) if abs(v) > 1.0 else 0.0  # surface through the landmark
    thumb = finger == "thumb"
    plate = _plate(body.maturity, rng, 5.5 if thumb else 8.5)
    return TubularBone(
        start=start + (u - slope * v) * scale * along,
        end=end,
        stations=_METACARPAL_STATIONS,
        half_width=tuple(w * body.robustness * warp.breadth(scale) for w in widths),
        start_sagitta=-1.8 if finger == "index" else (0.0 if finger == "little" else 0.8),
        end_sagitta=3.5 if not thumb else 1.5,
        start_slope=slope,
        rounding=(2.0, 4.5),
        cortex_mm=2.5 * body.cortex,
        cancellous=(0.2, 0.25),
        flatness=_FLATNESS[finger],
        bow_mm=bow,
        start_plate=plate if thumb else None,
        end_plate=None if thumb else plate,
    )


def _phalanges(
    finger: str, warp: HandWarp, scale: float, body: Constitution, rng: np.random.Generator
) -> list[TubularBone]:
    """Phalanges of a finger, proximal first."""
    chain = warp.landmarks[list(HAND_FINGERS[finger])]
    kinds = ("proximal", "distal") if finger == "thumb" else ("proximal", "middle", "distal")
    gap = (1.1 + 0.5 * (1.0 - body.maturity)) * scale
    bones = []
    for number, kind in enumerate(kinds):
        along = chain[number + 1] - chain[number]
        along = along / np.linalg.norm(along)
        factor = body.robustness * _PHALANX_FACTOR[finger] * warp.breadth(scale) ** 0.5
        base, waist, head = (width * factor for width in _PHALANX_WIDTHS[kind])
        tip = kind == "distal"
        bones.append(
            TubularBone(
                # the first landmark lies on the base of the proximal phalanx, the others on heads, a joint gap below
                start=chain[number] + along * (0.0 if number == 0 else gap),
                end=chain[number + 1],
                stations=(0.0, 0.1, 0.3, 0.62, 0.9, 1.0),
                half_width=(0.95 * base, base, 0.4 * base + 0.6 * waist, waist, head, head * (0.85 if tip else 0.93)),
                start_sagitta=-0.9,
                end_sagitta=1.2 if tip else 0.2,
                rounding=(1.3, 2.2 if tip else 1.6),
                cortex_mm=(1.2 if tip else 2.1) * body.cortex * _PHALANX_FACTOR[finger],
                cancellous=(0.25, 0.42) if tip else (0.2, 0.31),
                flatness=_FLATNESS[finger] * _PHALANX_FLATNESS[kind],
                start_plate=_plate(body.maturity, rng, 2.6),
            )
        )
    return bones


def draw_bones(canvas: BoneCanvas, warp: HandWarp, body: Constitution, rng: np.random.Generator) -> None:
    """Add all bones of the hand to the canvas; every landmark lies on the surface of its bone."""
    for finger in HAND_FINGERS:
        add_tubular_bone(canvas, _metacarpal(finger, warp, canvas.scale, body, rng))
        for bone in _phalanges(finger, warp, canvas.scale, body, rng):
            add_tubular_bone(canvas, bone)

    shrink = 1.0 - 0.05 * (1.0 - body.maturity) - 0.4 * max(0.0, 0.25 - body.maturity)
    for name, outline in _CARPALS.items():
        depth_mm = _CARPAL_DEPTH_MM.get(name, 9.5)
        ring = warp.outline(outline)
        outward = ring[1:] - ring.mean(axis=0)
        ring[1:] += rng.uniform(0.6, 1.5) * canvas.scale * outward / np.linalg.norm(outward, axis=1, keepdims=True)
        ring = ring[0] + shrink * (ring - ring[0])  # cartilage not yet bone; the landmark stays on the outline
        add_flat_bone(canvas, ring, radius_mm=4.2, cortex_mm=1.0 * body.cortex, depth_mm=depth_mm, cancellous=0.33)
    overlap_mm = rng.uniform(4.0, 7.0) * body.maturity  # palmar and dorsal parts that cover the joint gaps
    add_flat_bone(canvas, warp.points(np.array(_CARPUS)), radius_mm=7.0, depth_mm=overlap_mm)
    add_flat_bone(canvas, warp.points(np.array(_PISIFORM)), radius_mm=4.5, depth_mm=5.0, cancellous=0.4)
    if body.maturity > 0.35:
        add_flat_bone(canvas, warp.points(np.array(_SESAMOID)), radius_mm=1.8, cortex_mm=0.5)
    forearm = (_RADIUS, 3, 4, 14.0, 16.5), (_ULNA, 0, 2, 8.5, 11.0)
    for outline, left, right, radius_mm, depth_mm in forearm:
        plate = _plate(body.maturity - 0.08, rng, 0.0, 0.7 + 0.8 * (1.0 - body.maturity))
        add_flat_bone(
            canvas,
            warp.outline(outline),
            radius_mm=radius_mm,
            cortex_mm=1.4 * body.cortex,
            depth_mm=depth_mm,
            cancellous=0.45,
            plate=(warp.landmarks[[left, right]], plate),
        )
    for points, width_mm, amount in _LINES:
        add_line(canvas, warp.points(np.array(points)), width_mm, amount * rng.uniform(1.0, 3.5))


def soft_tissue(shape: tuple[int, int], warp: HandWarp, scale: float, body: Constitution) -> np.ndarray:
    """Thickness of soft tissue in mm, (X, Y). Computed on half the grid: it has no fine detail."""
    half_shape = (shape[0] // 2 + 1, shape[1] // 2 + 1)
    half_scale = scale / 2.0
    limbs = np.zeros(half_shape)
    for finger, radii in _FINGER_RADII.items():
        chain = warp.landmarks[list(HAND_FINGERS[finger])]
        inside = chain[0] + 0.25 * (chain[0] - chain[1])
        direction = (chain[-1] - chain[-2]) / np.linalg.norm(chain[-1] - chain[-2])
        tip = chain[-1] - direction * (radii[-1] * body.soft - 4.8) * scale  # skin ends 4.8 mm beyond the bone
        joints = np.vstack([inside, chain[:-1], tip])
        limb = capsule_chain_thickness(half_shape, joints / 2.0, np.array(radii) * body.soft * half_scale)
        limbs = np.maximum(limbs, limb / half_scale)
    palm = _fill(half_shape, warp.points(np.array(_PALM)) / 2.0)
    knuckle, wrist = warp.landmarks[25] / 2.0, warp.landmarks[list(LANDMARKS.size_between)].mean(axis=0) / 2.0
    axis = (wrist - knuckle) / np.sum((wrist - knuckle) ** 2)
    x, y = np.arange(half_shape[0])[:, None], np.arange(half_shape[1])[None, :]
    along = (x - knuckle[0]) * axis[0] + (y - knuckle[1]) * axis[1]
    slab = slab_thickness(palm, 17.0 * half_scale, 1.0) * np.interp(along, *_PALM_DEPTH_MM) * body.depth
    thenar = _fill(half_shape, warp.points(np.array(_THENAR)) / 2.0)
    slab = slab + slab_thickness(thenar, 7.0 * half_scale, 4.0 * body.depth)
    thickness = (limbs**6 + slab**6) ** (1 / 6)
    thickness = gaussian_filter(thickness, 0.7 * half_scale)
    return _double(_double(thickness, shape[0]).T, shape[1]).T


def _fill(shape: tuple[int, int], outline: np.ndarray) -> np.ndarray:
    """Mask (X, Y) of the smooth closed curve through (N, 2) points."""
    layer = Image.new("1", shape)
    ImageDraw.Draw(layer).polygon([tuple(point) for point in closed_curve(outline, 2.0)[0]], fill=1)
    return np.asarray(layer).T


def _double(values: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation of (N, M) rows 0, 1, 2 … to rows 0, 0.5, 1 …, the first `length` of them."""
    rows = np.repeat(values, 2, axis=0)
    rows[1:-1:2] = 0.5 * (values[:-1] + values[1:])
    return rows[:length]
