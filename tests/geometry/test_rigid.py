"""Rigid registration: matrices and ITK transforms agree, starts meet their purpose, a known motion is found again."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from shared.geometry.frames import transform_points
from shared.geometry.rigid import (
    Start,
    from_euler,
    image_starts,
    mask_starts,
    moments,
    register_rigid,
    rigid_matrix,
    tilts,
    to_euler,
)
from shared.io.itk_images import covering_grid, image_center, move_image, resample


def blob(seed: int = 0) -> sitk.Image:
    """A CT of smooth random structure within an ellipsoid, in air."""
    rng = np.random.default_rng(seed)
    shape = (40, 44, 48)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    inside = (
        sum(((a - c) / r) ** 2 for a, c, r in zip(np.ogrid[:40, :44, :48], (20, 22, 24), (13, 15, 20), strict=True)) < 1
    )
    image = sitk.GetImageFromArray(np.where(inside, 300 + 600 * field / field.std(), -1000).astype(np.float32))
    image.SetSpacing((2.0, 2.0, 2.5))
    image.SetOrigin((-30.0, 10.0, 100.0))
    return image


def motion(angle: float, shift: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(angle) * np.array([0.5, -0.6, 0.62])).as_matrix()
    matrix[:3, 3] = shift * np.array([1.0, -0.5, 0.7])
    return matrix


def test_itk_transforms_lead_from_fixed_to_moving_points():
    matrix = motion(25, 40)
    transform = to_euler(matrix, (5.0, -3.0, 80.0))
    point = np.array([12.0, -7.0, 33.0])
    moved = transform.TransformPoint(transform_points(matrix, point).tolist())
    np.testing.assert_allclose(moved, point, atol=1e-9)
    np.testing.assert_allclose(from_euler(transform), matrix, atol=1e-9)


def test_moments_of_a_box():
    image = sitk.Image(40, 40, 40, sitk.sitkUInt8)
    image.SetSpacing((1.0, 2.0, 1.0))
    image[10:20, 5:25, 12:16] = 1
    center, axes = moments(image)
    np.testing.assert_allclose(center, (14.5, 29, 13.5))
    assert np.linalg.det(axes) == pytest.approx(1) and abs(axes[1, 0]) == pytest.approx(1)
    assert abs(axes[2, 2]) == pytest.approx(1)


def test_image_starts_bring_centres_together():
    fixed, moving = blob(), move_image(blob(), motion(10, 60))
    starts = image_starts(fixed, moving, 15)
    assert len(starts) == 2 * len(tilts(15)) == 14
    for start in starts[:7]:
        np.testing.assert_allclose(transform_points(start.matrix, image_center(moving)), image_center(fixed), atol=1e-6)


def test_mask_starts_contain_the_motion_of_a_long_object():
    fixed = sitk.Cast(blob() > 0, sitk.sitkUInt8)
    matrix = motion(60, 80)
    moving = move_image(fixed, np.linalg.inv(matrix))
    points = np.random.default_rng(0).uniform(-40, 40, (50, 3))
    errors = [
        np.abs(transform_points(start.matrix, points) - transform_points(matrix, points)).max()
        for start in mask_starts(fixed, moving, 0)
    ]
    assert min(errors) < 0.5


def test_a_known_motion_is_found_from_afar():
    fixed, matrix = blob(), motion(18, 25)
    away = move_image(fixed, np.linalg.inv(matrix))
    moving = resample(away, covering_grid(away, 2.2))
    result = register_rigid(fixed, moving, image_starts(fixed, moving, 15))
    points = np.random.default_rng(0).uniform(-20, 20, (50, 3)) + image_center(fixed)
    there = transform_points(np.linalg.inv(matrix), points)
    assert np.linalg.norm(transform_points(result.matrix, there) - points, axis=1).max() < 0.6
    assert result.mutual_information > 0.3


def test_the_same_images_give_the_same_result():
    fixed, moving = blob(), move_image(blob(), motion(5, 5))
    first, second = (
        register_rigid(fixed, moving, image_starts(fixed, moving, 0), spacings_mm=(4.0,), keep=(1,)) for _ in range(2)
    )
    assert np.allclose(first.matrix, second.matrix, rtol=0, atol=1e-6)


def test_images_that_never_meet_give_their_start_back():
    fixed = blob()
    far = Start("far", rigid_matrix(np.eye(3), np.zeros(3), np.full(3, 5000.0)))
    result = register_rigid(fixed, fixed, [far])
    assert result.mutual_information == 0 and result.start == "far"
