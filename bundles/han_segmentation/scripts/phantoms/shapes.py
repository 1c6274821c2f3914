"""Shapes of organs on a canvas: ellipsoids and tubes, with the box that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

import numpy as np

from ..shared.phantoms.sdf import Array, Point, capsule, ellipsoid
from .canvas import HeadCanvas


def put_ellipsoid(canvas: HeadCanvas, centre: Point, radii: Point, tissue: str, organ: str | int = 0) -> None:
    """An ellipsoid along the axes, mm."""
    middle, half = np.asarray(centre, float), np.asarray(radii, float)
    canvas.shape(middle - half, middle + half, lambda x, y, z: ellipsoid(x, y, z, middle, half), tissue, organ)


def tube(
    x: Array, y: Array, z: Array, points: Sequence[Point], radii: Sequence[float], flat: Point = (1, 1, 1)
) -> Array:
    """Distance to a tube along a polyline, its radius linear between the points; ``flat`` stretches the section."""
    parts = [capsule(x, y, z, points[i], points[i + 1], radii[i], radii[i + 1], flat) for i in range(len(points) - 1)]
    return reduce(np.minimum, parts)


def put_tube(
    canvas: HeadCanvas,
    points: Sequence[Point],
    radii: Sequence[float],
    tissue: str,
    organ: str | int = 0,
    flat: Point = (1, 1, 1),
) -> None:
    """A tube along a polyline, piece by piece, mm."""
    if len(radii) == 1:
        radii = [radii[0]] * len(points)
    for i in range(len(points) - 1):
        ends = np.array([points[i], points[i + 1]], float)
        reach = max(radii[i], radii[i + 1]) * np.asarray(flat, float)
        canvas.shape(
            ends.min(axis=0) - reach,
            ends.max(axis=0) + reach,
            partial(capsule, start=points[i], end=points[i + 1], radius=radii[i], end_radius=radii[i + 1], flat=flat),
            tissue,
            organ,
        )


def put_ring(
    canvas: HeadCanvas,
    centre: Point,
    radii: Sequence[float],
    thick: float,
    height: float,
    tissue: str,
    front_only: bool = False,
    organ: str | int = 0,
) -> None:
    """An upright elliptical ring around z: outer radii (x, y), wall and height in mm; only its front half if wished."""
    cx, cy, cz = (float(v) for v in centre)
    a, b = radii
    mean = float(np.sqrt(a * b))

    def distance(x: Array, y: Array, z: Array) -> Array:
        radial = (np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2) - 1) * mean
        wall = np.maximum(np.abs(radial + thick / 2) - thick / 2, np.abs(z - cz) - height / 2)
        return np.maximum(wall, cy - 0.2 * b - y) if front_only else wall

    low = np.array([cx - a, cy - b, cz - height / 2])
    canvas.shape(low, 2 * np.array([cx, cy, cz]) - low, distance, tissue, organ)
