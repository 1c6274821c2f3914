"""Detector, projection of points and rays."""

from __future__ import annotations

import json

import pytest
import torch

from shared.drr import Detector, invert_rigid, pixels_to_world, project_points, projection_matrix, ray_frame
from shared.drr.geometry import expand_rays, ray_frame_in_voxels
from tests.drr.volumes import random_poses


def test_principal_ray_meets_the_principal_point(detector: Detector) -> None:
    pose = random_poses(0, 3)
    on_axis = pose[:, None, :3, 3] + 400 * pose[:, None, :3, 2]
    pixels = project_points(on_axis, pose, detector)
    assert torch.allclose(pixels, torch.tensor(detector.principal_point, dtype=torch.float64).expand(3, 1, 2))


def test_known_point() -> None:
    # camera at the origin with the axes of the world; 10 mm right and 20 mm down at half the SDD is magnified by two
    detector = Detector(101, 201, (0.5, 0.25), 1000.0, (3.0, -2.0))
    pixels = project_points(torch.tensor([[10.0, 20.0, 500.0]]), torch.eye(4), detector)
    assert torch.allclose(pixels, torch.tensor([[[100 + (20 + 3) / 0.5, 50 + (40 - 2) / 0.25]]]))


def test_pixels_go_to_the_detector_and_back(detector: Detector) -> None:
    pose = random_poses(1, 4)
    pixels = torch.tensor([[0.0, 0.0], [43.0, 0.0], [0.0, 35.0], [12.25, 7.5]], dtype=torch.float64)
    world = pixels_to_world(pixels, pose, detector)
    assert torch.allclose(project_points(world, pose, detector), pixels.expand(4, 4, 2))
    depth = ((world - pose[:, None, :3, 3]) * pose[:, None, :3, 2]).sum(-1)
    assert torch.allclose(depth, torch.full_like(depth, detector.sdd))
    # the points of one ray project to the same pixel, at any depth
    halfway = (world + pose[:, None, :3, 3]) / 2
    assert torch.allclose(project_points(halfway, pose, detector), pixels.expand(4, 4, 2))


def test_points_behind_the_source_have_no_pixel(detector: Detector) -> None:
    pose = random_poses(2, 1)
    behind = pose[:, None, :3, 3] - pose[:, None, :3, 2]
    assert project_points(behind, pose, detector).isnan().all()


def test_rays_end_in_the_pixels(detector: Detector) -> None:
    pose = random_poses(3, 2)
    source, targets = expand_rays(ray_frame(pose, detector), detector.rows, detector.columns)
    assert torch.equal(source[:, 0], pose[:, :3, 3])
    pixels = project_points(targets, pose, detector).reshape(2, detector.rows, detector.columns, 2)
    assert torch.allclose(pixels[:, 11, 29], torch.tensor([29.0, 11.0], dtype=torch.float64))
    assert torch.allclose(pixels[:, -1, 0], torch.tensor([0.0, detector.rows - 1.0], dtype=torch.float64))


def test_frame_in_voxels_is_the_affine_undone(detector: Detector) -> None:
    affine = random_poses(4, 1)[0] @ torch.diag(torch.tensor([0.7, -1.2, 2.5, 1.0], dtype=torch.float64))
    frame = ray_frame(random_poses(5, 2), detector)
    _, world = expand_rays(frame, 5, 6)
    _, voxels = expand_rays(ray_frame_in_voxels(frame, affine), 5, 6)
    assert torch.allclose(voxels @ affine[:3, :3].mT + affine[:3, 3], world)


def test_mirrored_camera_mirrors_the_image(detector: Detector) -> None:
    centred = Detector(detector.rows, detector.columns, detector.pixel_mm, detector.sdd)
    pose = random_poses(6, 1)
    mirrored = pose @ torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    points = torch.tensor([[10.0, 20.0, -30.0], [-40.0, 0.0, 5.0]], dtype=torch.float64)
    a, b = project_points(points, pose, centred), project_points(points, mirrored, centred)
    assert torch.allclose(b[..., 0], centred.columns - 1 - a[..., 0])
    assert torch.allclose(b[..., 1], a[..., 1])
    assert torch.allclose(
        invert_rigid(mirrored) @ mirrored, torch.eye(4, dtype=torch.float64).expand(1, 4, 4), atol=1e-9
    )


def test_resized_detector_sees_the_same(detector: Detector) -> None:
    pose, points = random_poses(7, 1), torch.tensor([[15.0, -20.0, 25.0]], dtype=torch.float64)
    half = detector.resized(18, 22)
    pixel, half_pixel = project_points(points, pose, detector), project_points(points, pose, half)
    assert torch.allclose((pixel + 0.5) / 2 - 0.5, half_pixel)  # corners, not centres, of the detector coincide


def test_detector_from_its_intrinsics_and_json(detector: Detector) -> None:
    again = Detector.from_intrinsics(detector.intrinsics(), detector.rows, detector.columns, detector.sdd)
    assert torch.allclose(again.intrinsics(), detector.intrinsics(), rtol=1e-12)
    assert Detector.from_dict(json.loads(json.dumps(detector.to_dict()))) == detector
    skewed = detector.intrinsics()
    skewed[0, 1] = 3.0
    with pytest.raises(ValueError, match="skew"):
        Detector.from_intrinsics(skewed, 10, 10, 1000.0)


def test_projection_matrix_projects(detector: Detector) -> None:
    pose = random_poses(8, 2)
    point = torch.tensor([3.0, 4.0, 5.0, 1.0], dtype=torch.float64)
    u, v, w = (projection_matrix(pose, detector) @ point).unbind(-1)
    expected = project_points(point[None, :3], pose, detector)[:, 0]
    assert torch.allclose(torch.stack([u / w, v / w], dim=-1), expected)


@pytest.mark.parametrize("broken", [dict(rows=0), dict(pixel_mm=(0.0, 1.0)), dict(sdd=-5.0)])
def test_impossible_detectors_are_refused(broken: dict) -> None:
    values = dict(rows=4, columns=4, pixel_mm=(1.0, 1.0), sdd=1000.0) | broken
    with pytest.raises(ValueError):
        Detector(**values)
