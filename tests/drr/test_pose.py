"""Parametrisations of the camera pose."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from shared.drr import (
    double_geodesic,
    euler_to_matrix,
    euler_to_pose,
    invert_rigid,
    matrix_to_euler,
    pose_to_euler,
    se3_exp,
    se3_log,
)
from tests.drr.volumes import random_poses

F64 = torch.float64


def random(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64) - 1


def test_euler_angles_are_intrinsic_zxy() -> None:
    angles = 1.4 * random(0, 20, 3)
    expected = torch.from_numpy(Rotation.from_euler("ZXY", angles.numpy()).as_matrix())
    assert torch.allclose(euler_to_matrix(angles), expected)
    assert torch.allclose(matrix_to_euler(expected), angles)


@pytest.mark.parametrize(("view", "side", "reflection"), [("AP", 1.0, 1.0), ("PA", -1.0, -1.0)])
def test_named_views(view: str, side: float, reflection: float) -> None:
    pose = euler_to_pose(torch.zeros(1, 3, dtype=F64), torch.tensor([[0.0, side * 850, 0.0]], dtype=F64), view)[0]
    assert torch.equal(pose[:3, 3], torch.tensor([0.0, side * 850, 0.0], dtype=F64))  # anterior is +y
    assert torch.equal(pose[:3, 2], torch.tensor([0.0, -side, 0.0], dtype=F64))  # towards the patient
    assert torch.equal(
        pose[:3, 0], torch.tensor([-1.0, 0.0, 0.0], dtype=F64)
    )  # the patient's left on the image's right
    assert torch.equal(pose[:3, 1], torch.tensor([0.0, 0.0, -1.0], dtype=F64))  # feet below
    assert torch.linalg.det(pose[:3, :3]).item() == pytest.approx(reflection)


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_pose_and_back(view: str) -> None:
    angles, translation = 1.2 * random(1, 6, 3), 300 * random(2, 6, 3)
    isocenter = torch.tensor([12.0, -30.0, 400.0], dtype=F64)
    pose = euler_to_pose(angles, translation, view, isocenter)
    found_angles, found_translation = pose_to_euler(pose, view, isocenter)
    assert torch.allclose(found_angles, angles)
    assert torch.allclose(found_translation, translation)
    # turning about the isocentre keeps the distance to it
    assert torch.allclose((pose[:, :3, 3] - isocenter).norm(dim=1), translation.norm(dim=1))


def test_mirrored_pose_has_no_angles_in_an_unmirrored_view() -> None:
    pose = euler_to_pose(torch.zeros(1, 3), torch.tensor([[0.0, -850.0, 0.0]]), "PA")
    with pytest.raises(ValueError, match="reflection"):
        pose_to_euler(pose, "AP")


def test_se3_is_the_matrix_exponential_and_back() -> None:
    twist = torch.cat([2.9 * random(3, 50, 3) / math.sqrt(3), 200 * random(4, 50, 3)], dim=1)
    twist[:4, :3] *= torch.tensor([[0.0], [1e-9], [1e-5], [1e-3]])
    generator = torch.zeros(50, 4, 4, dtype=F64)
    for (row, column), sign, index in zip(
        [(2, 1), (1, 2), (0, 2), (2, 0), (1, 0), (0, 1)], [1, -1] * 3, [0, 0, 1, 1, 2, 2], strict=True
    ):
        generator[:, row, column] = sign * twist[:, index]
    generator[:, :3, 3] = twist[:, 3:]
    matrix = se3_exp(twist)
    assert torch.allclose(matrix, torch.linalg.matrix_exp(generator), atol=1e-9)
    assert torch.allclose(se3_log(matrix), twist, atol=1e-6)


def test_se3_has_gradients_at_zero() -> None:
    twist = torch.zeros(1, 6, dtype=F64, requires_grad=True)
    pose = random_poses(5, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: se3_exp(x) @ pose, twist)
    assert jacobian.isfinite().all()
    assert torch.autograd.gradcheck(lambda x: se3_exp(x) @ pose, (twist,))
    assert torch.autograd.gradcheck(lambda x: double_geodesic(se3_exp(x + 0.01) @ pose, pose, 1000.0), (twist,))
    double_geodesic(se3_exp(twist) @ pose, pose, 1000.0).sum().backward()
    assert twist.grad is not None
    assert twist.grad.isfinite().all()


def test_double_geodesic_measures_turn_and_shift() -> None:
    pose = random_poses(6, 2)
    isocenter = torch.tensor([10.0, 20.0, 30.0], dtype=F64)
    turn = torch.tensor([[0.0, 0.0, 0.2, 0.0, 0.0, 0.0]], dtype=F64)
    about_isocenter = torch.eye(4, dtype=F64)
    about_isocenter[:3, 3] = isocenter
    turned = about_isocenter @ se3_exp(turn) @ invert_rigid(about_isocenter[None]) @ pose
    assert torch.allclose(double_geodesic(pose, turned, 1000.0, isocenter), torch.full((2,), 100.0, dtype=F64))
    shifted = pose.clone()
    shifted[:, :3, 3] += torch.tensor([3.0, 4.0, 0.0])
    assert torch.allclose(double_geodesic(pose, shifted, 1000.0, isocenter), torch.full((2,), 5.0, dtype=F64))
    assert torch.equal(double_geodesic(pose, pose, 1000.0, isocenter), torch.zeros(2, dtype=F64))
