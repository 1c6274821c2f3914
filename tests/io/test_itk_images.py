"""Volumes as SimpleITK images: a known point in, found again after every step; values stay where they have to."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from shared.geometry.frames import transform_points
from shared.io.itk_images import (
    aligned_grid,
    corners,
    covering_grid,
    crop_image,
    image_center,
    index_matrix,
    mirror_image,
    mirror_matrix,
    move_image,
    read_image,
    resample,
    same_grid,
    to_sitk,
    write_image,
)

SIZE, SPACING = (14, 11, 9), (0.8, 1.1, 2.5)


def oblique(seed: int = 0, angle: float = 30.0, dtype=np.int16) -> sitk.Image:
    """An image of distinct values on an oblique grid."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(np.prod(SIZE)).reshape(SIZE[::-1]).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING)
    image.SetOrigin((12.0, -70.0, 33.0))
    image.SetDirection(
        Rotation.from_rotvec(np.radians(angle) * np.array([0.6, 0.64, 0.48])).as_matrix().ravel().tolist()
    )
    return image


def rigid() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    matrix[:3, 3] = 5, -60, 12
    return matrix


def values_at(image: sitk.Image, points: np.ndarray) -> list[int]:
    return [image[image.TransformPhysicalPointToIndex(point.tolist())] for point in points]


@pytest.fixture
def known() -> tuple[sitk.Image, np.ndarray, list[int]]:
    """An image, centres of some of its voxels in LPS mm, and the values there."""
    image = oblique()
    index = np.random.default_rng(1).integers(2, np.array(SIZE) - 2, (20, 3))
    return image, transform_points(index_matrix(image), index), [image[tuple(map(int, i))] for i in index]


def test_the_matrix_is_that_of_itk(known):
    image, points, values = known
    assert values_at(image, points) == values
    np.testing.assert_allclose(image_center(image), image.TransformContinuousIndexToPhysicalPoint([6.5, 5, 4]))


@pytest.mark.parametrize("angle", [0.0, 30.0, 100.0, 180.0])
def test_mirroring_keeps_every_value_at_its_mirrored_place(angle):
    image = oblique(angle=angle)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij"), -1).reshape(-1, 3)
    points = transform_points(index_matrix(image), index)
    mirrored = mirror_image(image, 17.0)
    assert np.linalg.det(np.reshape(mirrored.GetDirection(), (3, 3))) == pytest.approx(1)
    assert values_at(mirrored, transform_points(mirror_matrix(17.0), points)) == values_at(image, points)
    again = mirror_image(mirrored, 17.0)
    assert same_grid(again, image) and np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(image))


def test_moving_and_cropping_keep_every_value_at_its_place(known):
    image, points, values = known
    assert values_at(move_image(image, rigid()), transform_points(rigid(), points)) == values
    assert values_at(crop_image(image, (2, 1, 2), (13, 10, 8)), points) == values
    assert same_grid(image, oblique()), "the input was moved"


def test_files_keep_the_place(tmp_path, known):
    image, points, values = known
    write_image(image, tmp_path / "a.nii.gz")
    assert values_at(read_image(tmp_path / "a.nii.gz"), points) == values
    nifti = nibabel.load(tmp_path / "a.nii.gz")
    same = to_sitk(np.asanyarray(nifti.dataobj), nifti.affine)
    assert same_grid(same, image, 1e-3) and values_at(same, points) == values


def test_the_bounding_grid_is_isotropic_centred_and_holds_every_corner():
    image = oblique()
    grid = covering_grid(image, 0.7)
    assert grid.GetSpacing() == (0.7, 0.7, 0.7) and grid.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    ends = corners(image)
    np.testing.assert_allclose(image_center(grid), (ends.min(0) + ends.max(0)) / 2, atol=1e-9)
    own = corners(grid)
    assert (own.min(0) <= ends.min(0) + 1e-6).all() and (own.max(0) >= ends.max(0) - 1e-6).all()


def test_the_aligned_grid_stays_inside():
    image = oblique()
    grid = aligned_grid(image, 1.3)
    np.testing.assert_allclose(image_center(grid), image_center(image), atol=1e-9)
    index = transform_points(np.linalg.inv(index_matrix(image)), corners(grid))
    assert (index >= -0.5 - 1e-6).all() and (index <= np.array(SIZE) - 0.5 + 1e-6).all()


def test_resampling_finds_a_linear_field_again_and_fills_the_rest():
    """A field that is linear in the world has the same values on every grid."""
    image = oblique(dtype=np.float32)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij"), -1)
    slope = np.array([3.0, -2.0, 1.0])
    field = sitk.GetImageFromArray((transform_points(index_matrix(image), index) @ slope).astype(np.float32).T)
    field.CopyInformation(image)
    grid = covering_grid(image, 1.0)
    result = sitk.GetArrayFromImage(resample(field, grid, fill=-1000)).T
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid.GetSize()), indexing="ij"), -1)
    world = transform_points(index_matrix(grid), places)
    own = transform_points(np.linalg.inv(index_matrix(image)), world)
    deep = ((own > 2) & (own < np.array(SIZE) - 3)).all(-1)
    assert deep.sum() > 50
    np.testing.assert_allclose(result[deep], (world @ slope)[deep], atol=0.5)
    outside = ((own < -0.6) | (own > np.array(SIZE) - 0.4)).any(-1)
    assert (result[outside] == -1000).all()


def test_coarser_voxels_do_not_alias():
    """Stripes of two voxels average out on a grid four times as coarse instead of turning into a coarse pattern."""
    stripes = np.zeros((8, 8, 64), np.float32)
    stripes[:, :, ::2] = 1000
    image = sitk.GetImageFromArray(stripes)
    coarse = sitk.GetArrayFromImage(resample(image, aligned_grid(image, 3.7)))
    assert np.ptp(coarse[:, :, 2:-2]) < 100 and abs(coarse[:, :, 2:-2].mean() - 500) < 50


def test_labels_are_never_mixed():
    image = oblique()
    mask = sitk.Cast(image > 700, sitk.sitkUInt8) * 7
    mask.CopyInformation(image)
    assert set(np.unique(sitk.GetArrayFromImage(resample(mask, covering_grid(image, 0.9), 0, labels=True)))) == {0, 7}
