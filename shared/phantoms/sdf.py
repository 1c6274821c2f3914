"""Implicit surfaces: approximate signed distances in mm, negative inside.

Every function takes broadcastable coordinate arrays in mm and returns an array of their common shape. The distances
are exact for capsules and first-order approximations near the surface elsewhere, which is what partial volumes and
cortical shells need.
"""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Point = Sequence[float] | Array
Section = tuple[float | Array, float | Array]


def ellipsoid(x: Array, y: Array, z: Array, centre: Point, radii: Point) -> Array:
    """Distance to an axis-aligned ellipsoid, first order in the distance over the radius."""
    u, v, w = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1], (z - centre[2]) / radii[2]
    level = np.sqrt(u * u + v * v + w * w)
    slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
    return level * (level - 1.0) / np.maximum(slope, 1e-6)


def ellipse(x: Array, y: Array, centre: Section, radii: Section, power: float = 2.0) -> Array:
    """Radial distance in a plane to a superellipse |u|^power + |v|^power = 1."""
    dx, dy = x - centre[0], y - centre[1]
    if power == 2.0:
        level = np.sqrt((dx / radii[0]) ** 2 + (dy / radii[1]) ** 2)
    else:
        level = (np.abs(dx / radii[0]) ** power + np.abs(dy / radii[1]) ** power) ** (1.0 / power)
    radius = np.sqrt(dx * dx + dy * dy)
    return np.where(level > 1e-3, radius - radius / np.maximum(level, 1e-3), -np.minimum(radii[0], radii[1]))


def capsule(
    x: Array, y: Array, z: Array, start: Point, end: Point, radius: float, end_radius: float, flat: Point = (1, 1, 1)
) -> Array:
    """Distance to a tapering rounded segment.

    Args:
        flat: stretches the section along x, y, z: (1, 1, 2) gives a bar twice as high as `radius` says.
    """
    ax, ay, az = start[0] / flat[0], start[1] / flat[1], start[2] / flat[2]
    bx, by, bz = end[0] / flat[0] - ax, end[1] / flat[1] - ay, end[2] / flat[2] - az
    px, py, pz = x / flat[0] - ax, y / flat[1] - ay, z / flat[2] - az
    along = np.clip((px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz + 1e-9), 0.0, 1.0)
    qx, qy, qz = px - along * bx, py - along * by, pz - along * bz
    return np.sqrt(qx * qx + qy * qy + qz * qz) - (radius + (end_radius - radius) * along)


def smooth_union(a: Array, b: Array, radius: float) -> Array:
    """Union whose seam is filleted with about `radius` mm (polynomial minimum)."""
    h = np.maximum(radius - np.abs(a - b), 0.0)
    return np.minimum(a, b) - h * h * (0.25 / radius)


def smooth_intersection(a: Array, b: Array, radius: float) -> Array:
    """Intersection whose edge is rounded with about `radius` mm."""
    h = np.maximum(radius - np.abs(a - b), 0.0)
    return np.maximum(a, b) + h * h * (0.25 / radius)


def coverage(distance: Array, voxel: float) -> Array:
    """Fraction of a voxel of edge `voxel` mm inside a locally flat surface at this distance, 0 to 1."""
    return np.clip(0.5 - distance / voxel, 0.0, 1.0)
