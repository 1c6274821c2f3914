"""Vertebrae C3 to L6 as implicit surfaces whose measures change from level to level.

The frame of a vertebra has its origin in the body centre and the axes right, anterior, superior (mm); superior is the
normal of the mid plane. Dimensions are of an adult of average size; they were adjusted until the surfaces covered
expert masks of the VerSe data set (CC BY-SA 4.0) best.
"""

from dataclasses import dataclass, fields

import numpy as np

from ..sdf import Array, capsule, ellipse, smooth_intersection, smooth_union


@dataclass(frozen=True)
class VertebraShape:
    """Measures of one vertebra in mm in its own frame; paired parts are given for the right side."""

    body_x: float  # half width, half depth at the end plates, half height
    body_y: float
    body_z: float
    waist: float  # how much narrower the middle of the body is, fraction
    uncus: float  # how far the upper end plate rises at its sides
    canal_x: float  # half width and half depth of the canal
    canal_y: float
    pedicle_x: float  # half thickness, half height, height of its middle
    pedicle_z: float
    pedicle_up: float
    upper_x: float  # tip of the superior articular process
    upper_y: float
    upper_z: float
    lower_x: float  # tip of the inferior articular process
    lower_y: float
    lower_z: float
    facet: float  # radius of the articular processes
    lamina_z: float  # half height, half thickness, height at the midline
    lamina_y: float
    lamina_up: float
    lamina_tilt: float  # how far the laminae run backwards per mm downwards
    transverse_x: float  # tip of the transverse process, its radius
    transverse_y: float
    transverse_z: float
    transverse_r: float
    spine_y: float  # tip of the spinous process, half thickness, half height at its root
    spine_z: float
    spine_x: float
    spine_h: float
    foramen: float  # radius of the foramen in the transverse process (cervical)


# level (3 = C3, 8 = T1, 20 = L1, 24 = L5), then the fields of VertebraShape in order
ANCHORS: tuple[tuple[float, ...], ...] = (
    (
        3, 11, 8.6, 7.2, 0.05, 2.4, 11, 6.6, 3, 3.5, 1.5, 18.5, -9.5, 6.5, 18.5, -14, -8,
        5, 6.2, 3, -4, 0.3, 25, -2, -1, 3.5, -35, -9, 2.6, 3.4, 2.5,
    ),
    (
        5, 11.8, 8.7, 6.9, 0.05, 2.6, 11.5, 6.6, 3, 3.6, 2, 19.5, -9.5, 8, 18.5, -15, -8,
        5.2, 6.2, 3, -4, 0.3, 26, -2, -1, 3.5, -37, -10, 2.6, 3.4, 2.5,
    ),
    (
        7, 13.8, 9.2, 7.9, 0.05, 1.8, 11, 6.6, 3.2, 4, 2, 20.5, -11.5, 10, 14.5, -18, -9,
        5.2, 7.6, 4, -4, 0.3, 33, -9, 3, 4.3, -52, -9, 3, 4.2, 2,
    ),
    (
        8, 14.8, 9.5, 8.6, 0.06, 0.8, 10, 6.6, 4, 5.5, 2.5, 18, -13, 11.5, 14, -20, -11,
        4.7, 9, 4.5, -5, 0.25, 35, -16, 5.5, 4.6, -53, -13, 2.9, 4.2, 0,
    ),
    (
        10, 14.4, 11.6, 9.5, 0.06, 0, 8.4, 6.5, 3.7, 6.4, 3, 13.9, -17.5, 13.7, 11, -25, -12,
        4.8, 10.5, 4.6, -6, 0.2, 34, -23, 5, 4.6, -54, -22, 2.8, 4.2, 0,
    ),
    (
        13, 14.3, 14, 10.2, 0.07, 0, 8.2, 6.8, 3.6, 6.6, 3.2, 11.8, -21.5, 14.8, 11, -27.5, -12.5,
        4.5, 11, 4.4, -6.7, 0.2, 33, -27, 4.5, 4.6, -57, -29, 2.6, 4.4, 0,
    ),
    (
        16, 17.8, 15.8, 10.9, 0.07, 0, 8.2, 7, 4.2, 7.6, 4, 12, -23, 16, 11.5, -29, -14,
        4.9, 11, 4.4, -7.5, 0.22, 29, -32, 3.5, 5, -55, -26, 3, 5.2, 0,
    ),
    (
        18, 19.5, 16, 12.2, 0.08, 0, 8.6, 7.2, 4.8, 8.4, 4, 12.5, -25, 17, 10.5, -30.5, -17.5,
        4.9, 11, 4.2, -8, 0.23, 22, -31, 3, 4.8, -54, -17, 3.4, 6.8, 0,
    ),
    (
        19, 21.5, 16.5, 13.2, 0.08, 0, 9.6, 7.3, 5.4, 8.9, 4, 13.6, -26.5, 17, 10, -31.5, -21,
        5, 11, 4.1, -8.8, 0.25, 21, -30, 2.7, 4.4, -56, -12.5, 3.8, 8, 0,
    ),
    (
        20, 22, 17, 14, 0.09, 0, 10.3, 7.5, 5.6, 8.4, 4.3, 14.3, -27, 16.2, 10.3, -32.8, -22.5,
        5.2, 11, 4.2, -9, 0.3, 37, -27.5, 3, 3.4, -61, -12, 3.8, 8.8, 0,
    ),
    (
        22, 23.3, 18.2, 14.5, 0.09, 0, 11, 7.6, 6.2, 7.8, 4.5, 15.6, -26.8, 15.5, 11.5, -33.5, -23,
        5.3, 11.4, 4.4, -9.3, 0.4, 44, -26, 3.4, 3.3, -63, -12, 3.7, 8.9, 0,
    ),
    (
        24, 25.2, 17.8, 14.2, 0.06, 0, 13, 7.8, 9, 7.5, 4, 18.5, -23, 13.5, 17.5, -31.5, -17.5,
        6, 9, 4.4, -8.3, 0.4, 44, -21, 4, 5, -52, -11.5, 3.9, 6.8, 0,
    ),
)  # fmt: skip


def shape_at(level: float) -> VertebraShape:
    """The average shape at a level (3 = C3, 8 = T1, 20 = L1, 25 = L6), between the rows by linear interpolation."""
    table = np.array(ANCHORS)
    at = float(np.clip(level, table[0, 0], table[-1, 0]))
    return VertebraShape(*(float(np.interp(at, table[:, 0], column)) for column in table[:, 1:].T))


def as_vector(shape: VertebraShape) -> np.ndarray:
    """The measures as a vector, in the order of the fields."""
    return np.array([getattr(shape, field.name) for field in fields(shape)])


def vertebral_body(x: Array, y: Array, z: Array, s: VertebraShape, front: float = 1.0, back: float = 1.0) -> Array:
    """Signed distance to the body: waisted superellipse between concave end plates.

    Args:
        front: height of the front edge relative to normal (below 1: wedge fracture).
        back: height of the back edge relative to normal.
    """
    u = z / s.body_z
    squeeze = 1.0 - s.waist * np.maximum(1.0 - u * u, 0.0)
    hollow = 0.14 * s.body_y * np.maximum(1.0 - (x / (0.7 * s.body_x)) ** 2, 0.0) * (y < 0)  # canal side is hollowed
    deep = np.where(y < 0, y * (1.0 + hollow / s.body_y), y)
    side = ellipse(x * (1.0 + 0.08 * y / s.body_y), deep, (0, 0), (s.body_x, s.body_y), 2.3)  # narrower in front
    side = side + (1.0 - squeeze) * s.body_y
    r2 = np.minimum((x / s.body_x) ** 2 + (y / s.body_y) ** 2, 1.0)
    height = s.body_z * (back + (front - back) * np.clip(0.5 + 0.5 * y / s.body_y, 0.0, 1.0))
    top = height - 0.09 * s.body_z * (1.0 - r2) + s.uncus * (np.abs(x) / s.body_x) ** 4 * (np.abs(x) < 1.3 * s.body_x)
    bottom = height - 0.09 * s.body_z * (1.0 - r2) - 0.5 * s.uncus * (np.abs(x) / s.body_x) ** 4
    # a fractured upper end plate sinks, the lower one stays
    upper = z - (2.0 * top - s.body_z + 0.09 * s.body_z * (1.0 - r2))
    return smooth_intersection(side, np.maximum(upper, -z - (bottom + s.body_z - height)), 2.5)


def vertebral_arch(x: Array, y: Array, z: Array, s: VertebraShape) -> Array:
    """Signed distance to pedicles, articular processes, laminae, transverse and spinous processes, canal cut out."""
    ax = np.abs(x)
    canal_at = -s.body_y - s.canal_y + 0.8
    back = canal_at - s.canal_y - s.lamina_y  # laminae at the midline
    pillar = ((s.upper_x + s.lower_x) / 2, (s.upper_y + s.lower_y) / 2, (s.upper_z + s.lower_z) / 2)
    foot = (min(s.canal_x + s.pedicle_x, 0.9 * s.body_x + 2), -0.6 * s.body_y, s.pedicle_up)
    root = (s.canal_x + s.pedicle_x, canal_at, s.pedicle_up)
    pedicle_flat = (1, 1, s.pedicle_z / s.pedicle_x)
    arch = capsule(ax, y, z, foot, root, s.pedicle_x, s.pedicle_x, pedicle_flat)
    arch = smooth_union(arch, capsule(ax, y, z, root, pillar, s.pedicle_x, s.facet), 3.0)
    flat = (1.25, 0.8, 1)
    for tip in ((s.upper_x, s.upper_y, s.upper_z), (s.lower_x, s.lower_y, s.lower_z)):
        arch = smooth_union(arch, capsule(ax, y, z, pillar, tip, s.facet, 0.7 * s.facet, flat), 2.5)
    slanted = y - s.lamina_tilt * (z - s.lamina_up)
    high = (1, 1, s.lamina_z / s.lamina_y)
    lamina = capsule(ax, slanted, z, pillar, (0, back, s.lamina_up), s.lamina_y, s.lamina_y, high)
    arch = smooth_union(arch, lamina, 2.5)
    outer = (s.transverse_x, s.transverse_y, s.transverse_z)
    inner = foot if s.foramen > 0 else (0.5 * (root[0] + pillar[0]), 0.5 * (root[1] + pillar[1]), s.transverse_z)
    arch = smooth_union(arch, capsule(ax, y, z, inner, outer, s.transverse_r, s.transverse_r), 2.5)
    if s.foramen > 0:
        hole = (0.5 * (foot[0] + outer[0]), 0.5 * (foot[1] + outer[1]))
        arch = smooth_union(arch, capsule(ax, y, z, root, outer, s.transverse_r, s.transverse_r), 2.5)
        arch = np.maximum(arch, s.foramen - np.sqrt((ax - hole[0]) ** 2 + (y - hole[1]) ** 2))
    tip = (4.0 if s.foramen > 2.2 else 0.0, s.spine_y, s.spine_z)  # cleft in the neck
    spine = capsule(ax, y, z, (0, back, s.lamina_up), tip, s.spine_x, s.spine_x, (1, 1, s.spine_h / s.spine_x))
    arch = smooth_union(arch, spine, 2.5)
    narrowing = 1.0 + 0.25 * np.clip((y - canal_at) / s.canal_y, -1.0, 1.0)  # the canal is wide in front
    canal = ellipse(x, y, (0, canal_at), (s.canal_x * narrowing, s.canal_y), 2.2)
    return np.maximum(arch, -canal)


def vertebra_distance(x: Array, y: Array, z: Array, s: VertebraShape, front: float = 1.0, back: float = 1.0) -> Array:
    """Signed distance in mm to a whole vertebra from C3 downwards; arguments as in the parts."""
    return smooth_union(vertebral_body(x, y, z, s, front, back), vertebral_arch(x, y, z, s), 2.0)
