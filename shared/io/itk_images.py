"""Volumes as SimpleITK images: from and to files, cropped, mirrored, moved and resampled in LPS millimetres.

Points are mapped by homogeneous matrices (4, 4) float64 that act on LPS mm. Cropping, mirroring and moving change the
grid alone and keep every value; only :func:`resample` interpolates.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from .atomic import atomic_path
from .image_files import LPS_TO_RAS
from .volumes import VolumeReader

AIR_HU = -1000.0
FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))


def to_sitk(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """Image of an array (X, Y, Z) whose affine (4, 4) leads from its indices to RAS mm."""
    if array.dtype == bool:
        array = array.astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    place_image(image, LPS_TO_RAS @ affine)
    return image


def place_image(image: sitk.Image, matrix: np.ndarray) -> None:
    """Give an image the grid whose matrix (4, 4) leads from its indices to LPS mm."""
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())


def index_matrix(image: sitk.Image) -> np.ndarray:
    """(4, 4) from indices of an image to LPS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def read_image(path: str | os.PathLike, allow_constant: bool = False) -> sitk.Image:
    """A volume of any format that :class:`VolumeReader` takes, with its axes as stored.

    Args:
        path: file or folder.
        allow_constant: accept a volume of a single value, such as an empty label map.

    Raises:
        CaseError: where the reader refuses it.
    """
    reader = VolumeReader(allow_constant)
    array, meta = reader.get_data(reader.read(path))
    return to_sitk(array, np.asarray(meta["affine"], dtype=float))


def write_image(image: sitk.Image, path: str | os.PathLike) -> None:
    """Write an image compressed, under a temporary name first."""
    with atomic_path(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)


def map_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 3) through a homogeneous matrix (4, 4); float64."""
    return np.asarray(points, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3]


def corners(image: sitk.Image) -> np.ndarray:
    """The eight outer corners (8, 3) of an image in LPS mm, half a voxel beyond the centres of its corner voxels."""
    ends = np.array([[-0.5, size - 0.5] for size in image.GetSize()])
    grid = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    return map_points(grid, index_matrix(image))


def image_center(image: sitk.Image) -> np.ndarray:
    """Centre (3,) of the grid of an image in LPS mm."""
    return map_points((np.array(image.GetSize()) - 1) / 2, index_matrix(image))


def same_grid(first: sitk.Image, second: sitk.Image, tolerance_mm: float = 0.01) -> bool:
    """Whether two images have the same size, and their corners the same places within the tolerance."""
    if first.GetSize() != second.GetSize():
        return False
    return bool(np.abs(corners(first) - corners(second)).max() < tolerance_mm)


def mirror_matrix(plane_x: float) -> np.ndarray:
    """(4, 4) reflection about the sagittal plane x = ``plane_x`` mm; its own inverse."""
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = 2 * plane_x
    return matrix


def mirror_image(image: sitk.Image, plane_x: float) -> sitk.Image:
    """An image reflected about the sagittal plane x = ``plane_x`` mm, voxel for voxel and without interpolation.

    The array is flipped along the axis nearest to left-right, so that the grid stays right-handed and near its old
    direction.
    """
    grid = index_matrix(image)
    axis = int(np.abs(np.reshape(image.GetDirection(), (3, 3))[0]).argmax())
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, image.GetSize()[axis] - 1
    mirrored = sitk.Flip(image, [index == axis for index in range(3)])
    place_image(mirrored, mirror_matrix(plane_x) @ grid @ flip)
    return mirrored


def move_image(image: sitk.Image, matrix: np.ndarray) -> sitk.Image:
    """A copy of an image whose grid is moved by a rigid matrix (4, 4) in LPS mm; the values stay."""
    moved = sitk.Image(image)
    place_image(moved, matrix @ index_matrix(image))
    return moved


def crop_image(image: sitk.Image, low: Sequence[int], high: Sequence[int]) -> sitk.Image:
    """Voxels ``low`` (included) to ``high`` (excluded) along each axis; the origin follows."""
    size = [int(last - first) for first, last in zip(low, high, strict=True)]
    return sitk.RegionOfInterest(image, size, [int(first) for first in low])


def empty_grid(center: Sequence[float], extent_mm: Sequence[float], spacing_mm: float) -> sitk.Image:
    """Grid of cubic voxels along the patient's axes, large enough for an extent and centred exactly on a point.

    Args:
        center: LPS mm.
        extent_mm: along x, y, z.
        spacing_mm: of the voxels.

    Returns:
        an image that serves as a grid alone.
    """
    size = [max(1, int(np.ceil(extent / spacing_mm - 1e-6))) for extent in extent_mm]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetOrigin([float(c) - (n - 1) / 2 * spacing_mm for c, n in zip(center, size, strict=True)])
    return grid


def bounding_grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Isotropic grid along the patient's axes around the whole of an image, whatever its direction."""
    points = corners(image)
    low, high = points.min(axis=0), points.max(axis=0)
    return empty_grid((low + high) / 2, high - low, spacing_mm)


def aligned_grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Grid of cubic voxels along the axes of an image, with the same centre and nowhere beyond its edges."""
    size = [max(1, int(n * s / spacing_mm + 1e-6)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * spacing_mm
    matrix[:3, 3] = image_center(image) - matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    grid = sitk.Image(size, sitk.sitkUInt8)
    place_image(grid, matrix)
    return grid


def resample(image: sitk.Image, grid: sitk.Image, fill: float = AIR_HU, labels: bool = False) -> sitk.Image:
    """An image on another grid.

    Intensities are interpolated linearly, after a Gaussian along the axes on which the new voxels are larger, so that
    fine structures do not alias; its width is the difference of the two voxels' point spread functions (Cardoso et al.,
    MICCAI 2015). Labels are taken from the nearest voxel.

    Args:
        image: intensities or labels.
        grid: image whose size, spacing, origin and direction count.
        fill: value outside of ``image``.
        labels: whether the values are labels.

    Returns:
        float32 intensities, or labels of the type of ``image``.
    """
    if labels:
        return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, fill)
    image = sitk.Cast(image, sitk.sitkFloat32)
    new = max(grid.GetSpacing())
    for axis, old in enumerate(image.GetSpacing()):
        if new > 1.01 * old and image.GetSize()[axis] >= 4:  # the recursive filter needs four voxels
            smooth = sitk.RecursiveGaussianImageFilter()
            smooth.SetSigma(float(np.sqrt(new**2 - old**2)) / FWHM_PER_SIGMA)
            smooth.SetDirection(axis)
            image = smooth.Execute(image)
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, fill)
