"""The same geometry in DiffDRR and nanodrr, point by point."""

from __future__ import annotations

import pytest
import torch
from diffdrr.drr import DRR
from diffdrr.pose import RigidTransform, convert
from torch import Tensor
from torchio import ScalarImage, Subject

from shared.drr import (
    Detector,
    DiffdrrCamera,
    euler_to_pose,
    from_diffdrr,
    pixels_to_world,
    project_points,
    render,
    to_diffdrr,
)
from shared.drr.conventions import REORIENT
from shared.drr.geometry import expand_rays, ray_frame
from shared.drr.nanodrr_backend import intrinsics_from_nanodrr, intrinsics_to_nanodrr
from tests.drr.volumes import random_poses, relative_rmse, smooth_volume

F64 = torch.float64
POINTS = torch.tensor([[30.0, -20.0, 10.0], [-50.0, 15.0, 60.0], [0.0, 0.0, 0.0], [5.0, 70.0, -40.0]], dtype=F64)


def diffdrr_renderer(camera: DiffdrrCamera, orientation: str | None, volume: Tensor, affine: Tensor) -> DRR:
    """DiffDRR with our volume as its density, in float64."""
    image = ScalarImage(tensor=volume[None].float(), affine=affine.numpy())
    subject = Subject(
        volume=image,
        mask=None,
        density=image,
        orientation=orientation,
        reorient=torch.tensor(REORIENT[orientation], dtype=torch.float32),
        fiducials=None,
    )
    names = ("sdd", "height", "width", "delx", "dely", "x0", "y0", "reverse_x_axis")
    drr = DRR(subject, **{name: getattr(camera, name) for name in names}).to(F64)
    drr.density = volume
    return drr


@pytest.fixture(scope="module")
def small() -> tuple[Tensor, Tensor]:
    return smooth_volume((12, 10, 8), (9.0, 8.0, 11.0))


@pytest.mark.parametrize("orientation", ["AP", "PA", None])
@pytest.mark.parametrize("reverse_x_axis", [True, False])
@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_diffdrr_camera_is_ours_point_by_point(
    small: tuple[Tensor, Tensor], orientation: str | None, reverse_x_axis: bool, size: tuple[int, int]
) -> None:
    angles, translation = torch.tensor([[0.3, -0.2, 0.25]]), torch.tensor([[20.0, 800.0, -15.0]])
    if orientation is None:
        translation = torch.tensor([[20.0, -15.0, -800.0]])
    elif orientation == "PA":
        translation = torch.tensor([[20.0, -800.0, -15.0]])
    theirs = convert(angles.to(F64), translation.to(F64), parameterization="euler_angles", convention="ZXY")
    camera = DiffdrrCamera(1020.0, *size, 21.0, 17.0, 12.0, -8.0, reverse_x_axis, theirs.matrix)
    drr = diffdrr_renderer(camera, orientation, *small)
    pose, detector = from_diffdrr(camera, orientation)

    source, targets = drr.detector(theirs, None)
    our_source, our_targets = expand_rays(ray_frame(pose, detector), *size)
    assert torch.allclose(our_source, source, atol=1e-3)  # DiffDRR keeps its detector in float32
    assert torch.allclose(our_targets, targets, atol=1e-3)
    pixels = drr.perspective_projection(theirs, POINTS[None])
    assert torch.allclose(project_points(POINTS, pose, detector) + 0.5, pixels, atol=1e-3)
    back = drr.inverse_projection(theirs, torch.tensor([[[3.5, 2.5]]], dtype=F64))
    assert torch.allclose(pixels_to_world(torch.tensor([[3.0, 2.0]], dtype=F64), pose, detector), back, atol=1e-3)

    again = to_diffdrr(pose, detector, orientation)
    assert again.reverse_x_axis == reverse_x_axis
    assert torch.allclose(again.pose, camera.pose, atol=1e-6)
    assert (again.x0, again.y0, again.delx, again.dely) == (12.0, -8.0, 21.0, 17.0)


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_euler_pose_is_diffdrrs(view: str) -> None:
    angles = torch.tensor([[0.5, -0.1, 0.2], [0.0, 0.2, -0.3]], dtype=F64)
    translation = torch.tensor([[10.0, 850.0, 5.0], [0.0, -900.0, -30.0]], dtype=F64)
    theirs = convert(angles, translation, parameterization="euler_angles", convention="ZXY")
    camera = DiffdrrCamera(1020.0, 8, 8, 10.0, 10.0, 0.0, 0.0, True, theirs.matrix)
    assert torch.allclose(from_diffdrr(camera, view)[0], euler_to_pose(angles, translation, view))


def test_diffdrr_renders_the_same_image(small: tuple[Tensor, Tensor]) -> None:
    volume, affine = small
    isocenter = torch.tensor([40.0, -10.0, 300.0], dtype=F64)
    moved = affine.clone()
    moved[:3, 3] += isocenter
    pose = random_poses(0, 1)
    pose[:, :3, 3] += isocenter
    detector = Detector(24, 20, (8.0, 9.0), 1020.0, (10.0, -15.0))
    camera = to_diffdrr(pose, detector, "AP", isocenter)  # DiffDRR moves the volume's centre to the origin
    theirs = diffdrr_renderer(camera, "AP", volume, affine)(RigidTransform(camera.pose))
    ours = render(volume[None], pose, detector, moved, backend="diffdrr")
    assert relative_rmse(ours, theirs) < 1e-5  # float32 detector of DiffDRR
    assert theirs.max() > 1


# Recorded with nanodrr 0.1.7: nanodrr.camera.make_k_inv(1020, 4.0, 3.5, 7.0, -5.0, 48, 56) and
# make_rt_inv([[20, -10, 15]], [[20, 850, 30]], view), both in float64.
NANODRR_K_INV = [
    [0.00392156862745098, 0.0, -0.11666666666666667],
    [0.0, 0.003431372549019608, -0.07745098039215687],
    [0.0, 0.0, 1.0],
]
NANODRR_POSE: dict[str, list[list[float]]] = {
    "AP": [
        [-0.923044938291, -0.185842877388, 0.336824088833, -262.264290420961],
        [-0.288133056037, -0.246137153725, -0.925416578398, 799.750867371086],
        [0.254887002244, -0.951251242564, 0.173648177667, -124.161153784848],
        [0.0, 0.0, 0.0, 1.0],
    ],
    "PA": [
        [-0.923044938291, -0.185842877388, -0.336824088833, -262.264290420961],
        [-0.288133056037, -0.246137153725, 0.925416578398, 799.750867371086],
        [0.254887002244, -0.951251242564, -0.173648177667, -124.161153784848],
        [0.0, 0.0, 0.0, 1.0],
    ],
}


def test_nanodrr_intrinsics_are_ours_shifted_by_half_a_pixel() -> None:
    detector = Detector(48, 56, (4.0, 3.5), 1020.0, (7.0, -5.0))
    k_inv = torch.tensor([NANODRR_K_INV], dtype=F64)
    assert torch.allclose(intrinsics_to_nanodrr(detector), k_inv)
    again = intrinsics_from_nanodrr(k_inv, 1020.0, 48, 56)
    assert torch.allclose(again.intrinsics(), detector.intrinsics())


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_nanodrr_pose_is_ours(view: str) -> None:
    angles = torch.tensor([[20.0, -10.0, 15.0]], dtype=F64).deg2rad()
    pose = euler_to_pose(angles, torch.tensor([[20.0, 850.0, 30.0]], dtype=F64), view)
    assert torch.allclose(pose[0], torch.tensor(NANODRR_POSE[view], dtype=F64))


# Recorded with nanodrr 0.1.7 (nanodrr.drr.render, backend "torch", 500 samples, float32) for `smooth_volume((24, 20,
# 16), (3, 4, 5))`, `random_poses(1, 1)` and the detector below: every third pixel.
NANODRR_IMAGE: list[list[float]] = [
    [2.3e-05, 1.05702, 1.110273, 0.045565, 0.0],
    [2e-06, 0.96218, 0.983841, 0.093022, 0.0],
    [0.0, 0.007101, 0.193334, 0.000183, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0],
]


def test_nanodrr_image_is_ours() -> None:
    volume, affine = smooth_volume((24, 20, 16), (3.0, 4.0, 5.0))
    detector = Detector(12, 15, (9.0, 8.0), 1020.0, (7.0, -5.0))
    ours = render(volume[None], random_poses(1, 1), detector, affine)[0, 0, ::3, ::3]
    assert relative_rmse(ours, torch.tensor(NANODRR_IMAGE, dtype=F64)) < 5e-3


def test_nanodrr_backend_and_its_gradient(small: tuple[Tensor, Tensor]) -> None:
    volume, affine = smooth_volume((48, 40, 32), (2.2, 2.4, 2.6))
    detector = Detector(24, 28, (6.0, 5.0), 1020.0, (7.0, -5.0))
    results = []
    for backend in ("joseph", "nanodrr"):
        angles = torch.tensor([[0.3, 0.2, -0.3]], requires_grad=True)
        density = volume.float()[None].requires_grad_()
        pose = euler_to_pose(angles, torch.tensor([[20.0, 850.0, 30.0]]))
        image = render(density, pose, detector, affine, backend)
        results.append((image.detach(), *torch.autograd.grad((image**2).sum(), [angles, density])))
    (ours, our_angles, our_volume), (theirs, their_angles, their_volume) = results
    assert relative_rmse(ours, theirs.double()) < 5e-3
    assert torch.cosine_similarity(our_angles.flatten(), their_angles.flatten(), dim=0) > 0.999
    assert torch.cosine_similarity(our_volume.flatten(), their_volume.flatten(), dim=0) > 0.99
