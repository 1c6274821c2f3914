"""Volumes as SimpleITK images: from and to files, cropped, mirrored, moved and resampled in LPS millimetres.

Points are mapped by homogeneous matrices (4, 4) float64 that act on LPS mm. Cropping, mirroring and moving change the
grid alone and keep every value; only :func:`resample` interpolates.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..geometry.frames import axis_directions, bounding_grid, outer_corners, ras_to_lps, transform_points, voxel_sizes
from ..geometry.hounsfield import AIR_HU
from .atomic import atomic_path
from .volumes import VolumeReader

FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))


def to_sitk(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """Image of an array (X, Y, Z) whose affine (4, 4) leads from its indices to RAS mm."""
    if array.dtype == bool:
        array = array.astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    place_image(image, ras_to_lps(affine))
    return image


def place_image(image: sitk.Image, matrix: np.ndarray) -> None:
    """Give an image the grid whose matrix (4, 4) leads from its indices to LPS mm."""
    image.SetSpacing(voxel_sizes(matrix).tolist())
    image.SetDirection(axis_directions(matrix).ravel().tolist())
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


def corners(image: sitk.Image) -> np.ndarray:
    """The eight outer corners (8, 3) of an image in LPS mm, half a voxel beyond the centres of its corner voxels."""
    return outer_corners(index_matrix(image), image.GetSize())


def image_center(image: sitk.Image) -> np.ndarray:
    """Centre (3,) of the grid of an image in LPS mm."""
    return transform_points(index_matrix(image), (np.array(image.GetSize()) - 1) / 2)


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


def grid_image(matrix: np.ndarray, size: Sequence[int]) -> sitk.Image:
    """An image that serves as a grid alone: its matrix (4, 4), from indices to LPS mm, and its size."""
    grid = sitk.Image([int(count) for count in size], sitk.sitkUInt8)
    place_image(grid, matrix)
    return grid


def covering_grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Isotropic grid along the patient's axes around the whole of an image, whatever its direction."""
    return grid_image(*bounding_grid(index_matrix(image), image.GetSize(), spacing_mm))


def aligned_grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Grid of cubic voxels along the axes of an image, with the same centre and nowhere beyond its edges."""
    size = [max(1, int(n * s / spacing_mm + 1e-6)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * spacing_mm
    matrix[:3, 3] = image_center(image) - transform_points(matrix, (np.array(size) - 1) / 2)
    return grid_image(matrix, size)


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
