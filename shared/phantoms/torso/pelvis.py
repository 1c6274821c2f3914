"""Sacrum, coccyx, hip bones and proximal femora as implicit surfaces.

The sacrum's frame has its origin in the centre of S1, superior along the normal of S1. Hip bones and femora live in
the pelvic frame with the same origin, which is upright at an average sacral slope. Paired parts take the distance for
the right side; the caller passes x of the wanted side as positive.
"""

import numpy as np

from ..sdf import Array, Point, capsule, ellipse, ellipsoid, smooth_intersection, smooth_union

SEGMENTS = ((0, 0), (-3, -26), (-4, -48), (-1, -66), (5, -81))  # y, z of the centres of S1 to S5
WIDTHS, DEPTHS, HEIGHTS = (25, 18, 14.5, 12.5, 10.5), (16, 11, 9, 7.5, 6), (14.5, 13.5, 12, 10.5, 9)
FORAMINA = ((21, -13, 5.0), (18, -37, 4.5), (15.5, -57, 4.0), (13.5, -74, 3.2))  # x, z, radius
COCCYX = ((12, -95), (20, -106), (29, -114))
FEMORAL_HEAD: tuple[float, float, float] = (88.0, 33.0, -94.0)
HEAD_RADIUS = 24.0


def sacrum_distance(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the sacrum: five fused bodies, wings, foramina, canal, crest."""
    ax = np.abs(x)
    bone = smooth_intersection(ellipse(x, y, (0, 0), (WIDTHS[0], DEPTHS[0]), 2.4), np.abs(z) - HEIGHTS[0], 3.0)
    for (cy, cz), width, depth, height in list(zip(SEGMENTS, WIDTHS, DEPTHS, HEIGHTS, strict=True))[1:]:
        bone = smooth_union(bone, ellipsoid(x, y, z, (0, cy, cz), (1.25 * width, 1.15 * depth, 1.3 * height)), 5.0)
    chain = ((18, -4, 3), (44, -9, -3), (42, -13, -28), (28, -10, -54), (14, 2, -80))
    for (a, b), radius in zip(zip(chain, chain[1:], strict=False), (11.5, 11.0, 9.5, 7.0), strict=True):
        bone = smooth_union(bone, capsule(ax, y, z, a, b, radius, radius - 2.0, (1, 1.1, 1)), 5.0)
    for hole_x, hole_z, radius in FORAMINA:
        tunnel = np.sqrt((ax - hole_x) ** 2 + (z - hole_z) ** 2) - radius
        bone = smooth_intersection(bone, -tunnel, 2.0)
    bone = smooth_union(bone, capsule(ax, y, z, (20, -18, -2), (0, -29, -6), 4.0, 4.0, (1, 1, 2.2)), 4.0)
    bone = smooth_union(bone, capsule(ax, y, z, (14, -20, -20), (6, -12, -72), 5.0, 3.0, (1.5, 0.8, 1)), 4.0)
    bone = smooth_union(bone, capsule(x, y, z, (0, -30, -6), (0, -16, -70), 4.0, 3.0, (1, 1.6, 1)), 3.0)
    bone = smooth_union(bone, capsule(ax, y, z, (21, -16, 2), (22, -22, 14), 6.0, 5.0), 3.0)
    along = np.clip(-z / 75.0, 0.0, 1.0)
    canal = ellipse(x, y, (0, -21.0), (13.0, 6.0), 2.2) + 7.0 * along  # tapers away towards S5
    return np.maximum(bone, -canal)


def coccyx_distance(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the coccyx, in the frame of the sacrum."""
    parts = [ellipsoid(x, y, z, (0, cy, cz), (8 - 2 * i, 4.5, 5.5)) for i, (cy, cz) in enumerate(COCCYX)]
    return np.minimum.reduce(parts)


def plate(x: Array, y: Array, z: Array, corners: tuple[Point, Point, Point], thickness: float) -> Array:
    """Signed distance to a triangle of half thickness `thickness` mm with round edges."""
    a, b, c = (np.asarray(corner, float) for corner in corners)
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal)
    height = ((x - a[0]) * normal[0] + (y - a[1]) * normal[1] + (z - a[2]) * normal[2]) / length
    outside = np.float32(-1e6) + 0.0 * height
    for start, end in ((a, b), (b, c), (c, a)):
        out = np.cross(end - start, normal)
        out /= np.linalg.norm(out)
        side = (x - start[0]) * out[0] + (y - start[1]) * out[1] + (z - start[2]) * out[2]
        outside = np.maximum(outside, side)
    # round rim: distance in the plane counts only beyond the edge
    return np.sqrt(height * height + np.maximum(outside, 0.0) ** 2) - thickness


SACROILIAC, POSTERIOR_SPINE, BACK_CREST = (52, -24, -14), (42, -58, -8), (64, -46, 28)
TOP_CREST, ANTERIOR_SPINE, ROOF = (128, 8, 46), (124, 62, -12), (97, 32, -60)
SIDE_CREST, NOTCH = (102, -26, 48), (68, -26, -58)
HIP_PLATES = (
    ((POSTERIOR_SPINE, BACK_CREST, SACROILIAC), 7.0),
    ((SACROILIAC, BACK_CREST, SIDE_CREST), 4.5),
    ((SACROILIAC, SIDE_CREST, TOP_CREST), 3.5),
    ((SACROILIAC, TOP_CREST, ROOF), 3.5),
    ((TOP_CREST, ANTERIOR_SPINE, ROOF), 4.0),
    ((SACROILIAC, NOTCH, ROOF), 6.0),
)
HIP_BARS = (
    (POSTERIOR_SPINE, BACK_CREST, 7.0, 6.5),
    (BACK_CREST, SIDE_CREST, 6.5, 6.0),
    (SIDE_CREST, TOP_CREST, 6.0, 7.0),
    (TOP_CREST, ANTERIOR_SPINE, 7.0, 6.5),
    (ANTERIOR_SPINE, (100, 56, -50), 6.0, 7.0),
    (SACROILIAC, ROOF, 9.0, 13.0),
    ((84, 8, -110), (62, -14, -148), 13.0, 14.0),  # ischium to its tuberosity
    ((78, 50, -90), (16, 70, -104), 9.0, 7.5),  # upper and lower branch of the pubis
    ((16, 70, -104), (11, 68, -120), 8.0, 7.0),
    ((60, -6, -156), (12, 64, -124), 7.5, 6.0),
)
SOCKET_AXIS = np.array([0.75, 0.35, -0.56])


def hip_distance(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the right hip bone (ilium, ischium, pubis, acetabulum) in the pelvic frame."""
    cx, cy, cz = FEMORAL_HEAD
    radius = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
    axis = SOCKET_AXIS / np.linalg.norm(SOCKET_AXIS)
    depth = (x - cx) * axis[0] + (y - cy) * axis[1] + (z - cz) * axis[2]
    bone = smooth_intersection(radius - 32.0, depth - 6.0, 3.0)
    for corners, thickness in HIP_PLATES:
        bone = smooth_union(bone, plate(x, y, z, corners, thickness), 5.0)
    for start, end, first, last in HIP_BARS:
        bone = smooth_union(bone, capsule(x, y, z, start, end, first, last), 5.0)
    return np.maximum(bone, (HEAD_RADIUS + 2.5) - radius)


def femur_distance(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the right proximal femur in the pelvic frame; the shaft goes on downwards."""
    bone = ellipsoid(x, y, z, FEMORAL_HEAD, (HEAD_RADIUS,) * 3)
    bone = smooth_union(bone, capsule(x, y, z, FEMORAL_HEAD, (126, 20, -120), 15.0, 16.0, (1, 0.85, 1)), 4.0)
    bone = smooth_union(bone, capsule(x, y, z, (134, 8, -98), (138, 12, -130), 11.0, 14.0), 6.0)
    bone = smooth_union(bone, ellipsoid(x, y, z, (116, 0, -152), (9, 9, 12)), 6.0)
    return smooth_union(bone, capsule(x, y, z, (131, 14, -128), (112, 26, -460), 15.5, 14.0), 6.0)
