"""Affines, points and frames: a known point in, found again; against nibabel and ITK where they have the same."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from shared.geometry.frames import (
    axis_directions,
    bounding_grid,
    box_corners,
    box_grid,
    centred_grid,
    lps_to_ras,
    motion_lps_to_ras,
    outer_bounds,
    outer_corners,
    plain_tensor,
    ras_to_lps,
    transform_points,
    voxel_sizes,
)

TURN = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
SPACING = np.array([0.7, 1.3, 2.5])
SHAPE = (20, 30, 11)


def oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = TURN * SPACING, (12.0, -70.0, 33.0)
    return affine


def itk_image(affine_lps: np.ndarray) -> sitk.Image:
    image = sitk.Image(SHAPE, sitk.sitkUInt8)
    image.SetSpacing(SPACING.tolist())
    image.SetDirection(TURN.ravel().tolist())
    image.SetOrigin(affine_lps[:3, 3].tolist())
    return image


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3)])
def test_points_go_where_nibabel_takes_them_and_come_back(shape):
    points = np.random.default_rng(0).uniform(-5, 40, shape)
    moved = transform_points(oblique(), points)
    np.testing.assert_allclose(moved, nibabel.affines.apply_affine(oblique(), points), atol=1e-9)
    np.testing.assert_allclose(transform_points(np.linalg.inv(oblique()), moved), points, atol=1e-9)


def test_points_go_where_itk_takes_them():
    image = itk_image(oblique())
    expected = image.TransformContinuousIndexToPhysicalPoint([3.5, 7.0, 2.25])
    np.testing.assert_allclose(transform_points(oblique(), [3.5, 7.0, 2.25]), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors_of_their_type_in_the_precision_of_the_affine(dtype):
    far = np.eye(4)
    far[:3, 3] = 1e7  # in float32 the steps at this distance are 1 mm
    points = torch.tensor([[0.25, 0.5, 0.125], [float("nan"), 0, 0]], dtype=dtype)
    there = transform_points(torch.from_numpy(far), points.double())
    back = transform_points(np.linalg.inv(far), there)
    assert transform_points(far, points).dtype == dtype and there.dtype == torch.float64
    assert back[0].tolist() == [0.25, 0.5, 0.125] and bool(back[1, 0].isnan())
    combined = np.linalg.inv(far) @ far  # the way out and back in one matrix loses nothing in float32 either
    assert transform_points(combined, points)[0].tolist() == [0.25, 0.5, 0.125]


def test_planes_take_matrices_of_their_own_and_of_space():
    plane = np.array([[0.0, -2.0, 5.0], [2.0, 0.0, 7.0], [0.0, 0.0, 1.0]])
    space = np.eye(4)
    space[:2, :2], space[:2, 3] = plane[:2, :2], plane[:2, 2]
    for matrix in (plane, space):
        assert transform_points(matrix, [1.0, 2.0]).tolist() == [1.0, 9.0]
        assert transform_points(matrix, torch.tensor([[1.0, 2.0]])).tolist() == [[1.0, 9.0]]


def test_ras_and_lps_there_and_back():
    points = np.random.default_rng(1).normal(size=(4, 3))
    np.testing.assert_array_equal(ras_to_lps([1.0, 2.0, 3.0]), [-1.0, -2.0, 3.0])
    np.testing.assert_array_equal(lps_to_ras(ras_to_lps(points)), points)
    np.testing.assert_array_equal(lps_to_ras(ras_to_lps(oblique())), oblique())
    index = np.array([3.0, 9.0, 2.0])
    world = transform_points(oblique(), index)
    np.testing.assert_allclose(transform_points(ras_to_lps(oblique()), index), ras_to_lps(world), atol=1e-9)
    four = np.arange(12.0).reshape(4, 3)  # four points are no affine
    np.testing.assert_array_equal(ras_to_lps(four), four * [-1, -1, 1])


def test_an_affine_in_lps_is_the_grid_of_itk():
    image = itk_image(ras_to_lps(oblique()))
    image.SetDirection((np.diag([-1.0, -1.0, 1.0]) @ TURN).ravel().tolist())
    expected = image.TransformContinuousIndexToPhysicalPoint([3.5, 7.0, 2.25])
    np.testing.assert_allclose(transform_points(ras_to_lps(oblique()), [3.5, 7.0, 2.25]), expected)


def test_a_motion_in_the_other_frame_moves_the_same_points():
    motion = oblique()
    motion[:3, :3] = TURN
    point = np.array([10.0, -20.0, 30.0])
    moved = ras_to_lps(transform_points(motion, point))
    np.testing.assert_allclose(transform_points(motion_lps_to_ras(motion), ras_to_lps(point)), moved, atol=1e-9)
    np.testing.assert_array_equal(motion_lps_to_ras(motion_lps_to_ras(motion)), motion)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_voxel_sizes_and_directions_make_up_the_affine(kind):
    affine = kind(oblique())
    assert isinstance(voxel_sizes(affine), type(affine))
    np.testing.assert_allclose(np.asarray(voxel_sizes(affine)), SPACING)
    np.testing.assert_allclose(np.asarray(axis_directions(affine)), TURN)


def test_corners_of_a_volume_are_half_a_voxel_beyond_its_centres():
    assert sorted(map(tuple, box_corners((0, 1, 2), (3, 4, 5)))) == [
        (x, y, z) for x in (0, 3) for y in (1, 4) for z in (2, 5)
    ]
    corners = outer_corners(oblique(), SHAPE)
    expected = itk_image(oblique()).TransformContinuousIndexToPhysicalPoint([-0.5, -0.5, -0.5])
    np.testing.assert_allclose(corners[0], expected)
    low, high = outer_bounds(oblique(), SHAPE)
    np.testing.assert_array_equal([low, high], [corners.min(0), corners.max(0)])


def test_grids_around_points_boxes_and_volumes():
    affine = centred_grid([5.0, -3.0, 9.0], (4, 5, 7), 1.5)
    np.testing.assert_allclose(transform_points(affine, [1.5, 2.0, 3.0]), [5.0, -3.0, 9.0])
    grid, size = box_grid((0, 0, 0), (4.0, 4.1, 0.0), 2.0)
    assert size == (2, 3, 1)
    np.testing.assert_allclose(np.mean(outer_bounds(grid, size), axis=0), [2.0, 2.05, 0.0])
    grid, size = bounding_grid(oblique(), SHAPE, 0.7)
    low, high = outer_bounds(oblique(), SHAPE)
    grid_low, grid_high = outer_bounds(grid, size)
    assert (grid_low <= low + 1e-6).all() and (grid_high >= high - 1e-6).all()
    assert (grid_high - grid_low < high - low + 0.7).all()
    np.testing.assert_array_equal(grid[:3, :3], np.diag([0.7] * 3))


def test_a_plain_tensor_forgets_the_metadata_and_nothing_else():
    volume = MetaTensor(torch.rand(1, 3, 4, 5), affine=torch.as_tensor(oblique()))
    plain = plain_tensor(volume)
    assert type(plain) is torch.Tensor and torch.equal(plain, volume.as_tensor())
    assert plain.data_ptr() == volume.data_ptr(), "no copy"
    assert plain_tensor(np.arange(3)).tolist() == [0, 1, 2]
