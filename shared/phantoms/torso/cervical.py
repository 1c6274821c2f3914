"""Atlas (C1) and axis (C2) as implicit surfaces, in the frame of `vertebra` (mm, right, anterior, superior).

The centre of C1 follows the VerSe convention: it lies inside the ring, behind the anterior arch, where the dens is.
"""

import numpy as np

from ..sdf import Array, capsule, ellipse, ellipsoid, smooth_intersection, smooth_union


def atlas_distance(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to C1: two arches, lateral masses, transverse processes with foramina."""
    ax = np.abs(x)
    ring = capsule(ax, y, z, (0, 15.5, -2), (14, 11, -2), 3.6, 4.0, (1, 1, 1.4))
    ring = smooth_union(ring, capsule(ax, y, z, (14, 11, -2), (20, 3, -2), 4.0, 5.0), 3.0)
    mass = ellipsoid(x=ax, y=y, z=z, centre=(21.5, 2, -2), radii=(8, 11, 9))
    mass = np.maximum(mass, ellipse(y, z, (0, 20), (14, 14)) * -1.0)  # sockets of the occipital condyles
    ring = smooth_union(ring, mass, 2.0)
    wing = capsule(ax, y, z, (24, 0, -2), (38, -2, -3), 6.0, 4.5, (1, 1.2, 0.8))
    wing = np.maximum(wing, 3.0 - np.sqrt((ax - 31.0) ** 2 + (y + 1.0) ** 2))
    ring = smooth_union(ring, wing, 1.5)
    ring = smooth_union(ring, capsule(ax, y, z, (22, -6, 1), (16, -19, 4), 4.0, 3.5), 2.0)
    return smooth_union(ring, capsule(ax, y, z, (16, -19, 4), (0, -27, 7), 3.5, 4.2, (1, 1, 1.2)), 2.0)


def axis_distance(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to C2: body with dens, broad upper facets, strong cleft spinous process."""
    ax = np.abs(x)
    side = ellipse(x, y, (0, 0), (10.0, 8.0), 2.3)
    body = smooth_intersection(side, np.maximum(z - 7.0, -15.5 - z - 0.25 * np.maximum(y, -8.0)), 2.5)
    bone = smooth_union(body, capsule(x, y, z, (0, 0.5, 4), (0, 2.5, 17), 5.8, 5.2), 3.0)
    bone = smooth_union(bone, ellipsoid(ax, y, z, (15, -2, 3), (9.0, 9.0, 5.5)), 3.0)
    bone = smooth_union(bone, capsule(ax, y, z, (15, -6, 0), (18, -15, -11), 5.0, 4.5, (1.2, 0.9, 1)), 2.5)
    wing = capsule(ax, y, z, (16, -4, -2), (26, -6, -6), 4.5, 3.0)
    wing = np.maximum(wing, 2.6 - np.sqrt((ax - 19.5) ** 2 + (y + 2.0) ** 2))
    bone = smooth_union(bone, wing, 1.5)
    bone = smooth_union(bone, capsule(ax, y, z, (18, -14, -8), (0, -31, -9), 3.0, 3.2, (1, 1, 2.0)), 2.5)
    bone = smooth_union(bone, capsule(ax, y, z, (0, -31, -9), (4, -45, -14), 3.6, 3.2, (1, 1, 1.6)), 2.5)
    canal = ellipse(x, y, (0, -18.0), (12.0, 9.0), 2.2)
    return np.maximum(bone, -np.maximum(canal, z - 30.0))
