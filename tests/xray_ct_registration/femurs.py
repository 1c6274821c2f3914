"""A procedural CT of two hips whose femoral heads are known, and spheres fitted to the heads of any label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

RIGHT, LEFT, METAL = 1, 2, 5
HEAD_RADIUS_MM = 23.0
# The left femur in its own frame, LPS mm: x to the left, y to the back, z to the head.
HEAD = np.array([-32.0, -8.0, 18.0])
NECK_BASE = np.array([4.0, 2.0, -8.0])
TROCHANTER = np.array([14.0, 8.0, 4.0])
SHAFT_END = np.array([2.0, 4.0, -85.0])
OFFSET_X = 75.0  # of the femur from the midline


@dataclass(frozen=True)
class Hips:
    """A CT, its labels (1 right femur, 2 left femur, 5 a nail in the right one); centres of the heads in LPS mm."""

    ct: sitk.Image
    mask: sitk.Image
    heads: dict[str, np.ndarray]


def capsule(points: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance in mm of points (..., 3) to a capsule."""
    axis = end - start
    share = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - start - share[..., None] * axis, axis=-1) - radius


def femur_distance(points: np.ndarray, size: float) -> np.ndarray:
    """Signed distance in mm of points (..., 3) in the frame of a left femur to its surface."""
    parts = [
        np.linalg.norm(points - size * HEAD, axis=-1) - size * HEAD_RADIUS_MM,
        capsule(points, size * NECK_BASE, size * HEAD, 14 * size),
        capsule(points, size * TROCHANTER, size * NECK_BASE, 16 * size),
        capsule(points, size * NECK_BASE, size * SHAFT_END, 13 * size),
    ]
    return np.min(parts, axis=0)


def hips(
    seed: int = 0,
    size: float = 1.0,
    turn_deg: tuple[float, float, float] = (0, 0, 0),
    shift_mm: tuple[float, float, float] = (0, 0, 0),
    spacing: tuple[float, float, float] = (2.0, 2.2, 3.0),
    oblique_deg: float = 0.0,
    islands: bool = False,
    nail: bool = False,
    top_mm: float = 52.0,
) -> Hips:
    """A pair of hips.

    Args:
        seed: of the noise.
        size: of the femurs, 1 for 23 mm heads.
        turn_deg: rotation of the patient about x, y, z.
        shift_mm: of the patient and the field of view.
        spacing: of the voxels.
        oblique_deg: rotation of the grid against the axes of LPS.
        islands: whether the labels have stray components.
        nail: whether the right femur has a nail of metal, which the label map carries as its own label.
        top_mm: height of the field of view above the hips; 52 holds the heads, 0 cuts through them.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array([-155.0, -60.0, -85.0]), np.array([155.0, 60.0, top_mm])
    count = np.ceil((high - low) / spacing).astype(int)
    direction = Rotation.from_euler("zyx", [oblique_deg, -oblique_deg / 2, oblique_deg / 3], degrees=True).as_matrix()
    ct = sitk.Image(count.tolist(), sitk.sitkInt16)
    ct.SetSpacing(spacing)
    ct.SetDirection(direction.ravel().tolist())
    ct.SetOrigin((direction @ low + shift_mm).tolist())
    index = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1)
    world = (index * spacing) @ direction.T + direction @ low + shift_mm
    rotation = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    patient = (world - shift_mm) @ rotation  # the inverse rotation of each point
    hu = np.where(np.hypot(patient[..., 0] / 1.9, patient[..., 1]) < 72, 40.0, -1000.0)
    labels = np.zeros(count, np.uint8)
    heads = {}
    for side, label, sign in (("right", RIGHT, -1.0), ("left", LEFT, 1.0)):
        own = patient * [sign, 1, 1] - [OFFSET_X, 0, 0]
        distance = femur_distance(own, size)
        labels[distance <= 0] = label
        hu = np.where(distance <= 0, np.where(distance > -4, 1100.0, 300.0), hu)
        heads[side] = rotation @ ((size * HEAD + [OFFSET_X, 0, 0]) * [sign, 1, 1]) + shift_mm
    if nail:
        own = patient * [-1, 1, 1] - [OFFSET_X, 0, 0]
        inside = capsule(own, size * np.array([3.0, 3.0, -20.0]), size * SHAFT_END, 5.0) <= 0
        labels[inside], hu[inside] = METAL, 9000.0
    if islands:
        for label in (RIGHT, LEFT, METAL) if nail else (RIGHT, LEFT):
            for _ in range(4):
                corner = rng.integers(0, count - 3)
                block = labels[tuple(slice(c, c + 2) for c in corner)]
                block[block == 0] = label
    hu += rng.normal(0, 15, hu.shape)
    image = sitk.GetImageFromArray(hu.round().astype(np.int16).T)
    mask = sitk.GetImageFromArray(labels.T)
    image.CopyInformation(ct)
    mask.CopyInformation(ct)
    return Hips(image, mask, heads)


def surface_points(region: np.ndarray, image: sitk.Image, ct: sitk.Image | None = None) -> np.ndarray:
    """Voxel centres (N, 3) in LPS mm of the surface of a region (Z, Y, X) off the edge of the image.

    Args:
        region: on the grid of the image.
        image: grid.
        ct: on the same grid, whose air is no surface of a bone but what a volume was filled up with.
    """
    surface = region & ~ndimage.binary_erosion(region, border_value=1)
    if ct is not None:
        surface &= ~ndimage.binary_dilation(sitk.GetArrayViewFromImage(ct) < -900, iterations=2)
    index = np.argwhere(surface)[:, ::-1]
    direction = np.reshape(image.GetDirection(), (3, 3))
    return (index * image.GetSpacing()) @ direction.T + np.array(image.GetOrigin())


def sphere_through(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the sphere nearest to points (N, 3), N >= 4, by linear least squares."""
    middle = points.mean(axis=0)
    local = points - middle
    solution = np.linalg.lstsq(np.c_[2 * local, np.ones(len(local))], (local**2).sum(axis=1), rcond=None)[0]
    return solution[:3] + middle, float(np.sqrt(max(0.0, solution[3] + solution[:3] @ solution[:3])))


def fit_head(
    points: np.ndarray,
    near: np.ndarray,
    within_mm: float = 40.0,
    radii_mm: tuple[float, float] = (18.0, 30.0),
    least: float = 0.5,
    drift_mm: float = 12.0,
) -> tuple[np.ndarray, float] | None:
    """The femoral head among the surface points of a bone: the sphere on which most of them lie (RANSAC).

    Args:
        points: (N, 3) in mm.
        near: where the head is roughly.
        within_mm: how far from there points are taken.
        radii_mm: of heads.
        least: fraction of the directions in which the sphere needs points.
        drift_mm: how far from ``near`` its centre may lie.

    Returns:
        centre and radius; None where no sphere has points on enough of its surface.
    """
    rng = np.random.default_rng(0)
    points = points[np.linalg.norm(points - near, axis=1) < within_mm]
    best: np.ndarray = np.zeros(len(points), bool)
    for _ in range(1500 if len(points) > 50 else 0):
        center, radius = sphere_through(points[rng.choice(len(points), 4, replace=False)])
        if radii_mm[0] < radius < radii_mm[1] and np.linalg.norm(center - near) < drift_mm:
            inside = np.abs(np.linalg.norm(points - center, axis=1) - radius) < 1.2
            best = inside if inside.sum() > best.sum() else best
    if best.sum() < 50:
        return None
    center, radius = sphere_through(points[best])
    ways = (points[best] - center) / radius
    filled = (directions(64) @ ways.T > np.cos(np.radians(15))).any(axis=1).mean()
    return (center, radius) if filled >= least and radii_mm[0] < radius < radii_mm[1] else None


def directions(count: int) -> np.ndarray:
    """Unit vectors (N, 3) spread evenly over the sphere (Fibonacci lattice)."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    around = np.sqrt(1 - z**2)
    return np.c_[around * np.cos(angle), around * np.sin(angle), z]
