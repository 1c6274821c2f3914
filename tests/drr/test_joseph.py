"""The CPU projector against its definition, against exact lengths and against DiffDRR's Siddon, values and
gradients.
"""

from __future__ import annotations

import importlib.resources
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from shared.drr import Detector, euler_to_pose, hu_to_attenuation, ncc, pose_to_euler, render
from shared.drr.joseph import project
from tests.drr.volumes import along_axis, random_poses, relative_rmse, smooth_volume

F64 = torch.float64
ROOT = Path(__file__).resolve().parents[2]


def frame_of(source: list[float], first_pixel: list[float], column: list[float], row: list[float]) -> Tensor:
    return torch.tensor([[source, first_pixel, column, row]], dtype=F64)


def defined_integral(volume: np.ndarray, source: np.ndarray, target: np.ndarray) -> float:
    """Joseph's sum along one ray (voxel units, unit spacing), written down from its definition."""
    shape, d = np.array(volume.shape), target - source
    start, end = 0.0, 1.0
    for axis in range(3):
        if d[axis] == 0:
            if not -0.5 <= source[axis] <= shape[axis] - 0.5:
                return 0.0
            continue
        planes = sorted(((-0.5 - source[axis]) / d[axis], (shape[axis] - 0.5 - source[axis]) / d[axis]))
        start, end = max(start, planes[0]), min(end, planes[1])
    if start >= end:
        return 0.0
    a = int(np.argmax(np.abs(d)))
    low, high = sorted((source[a] + start * d[a], source[a] + end * d[a]))
    values = []
    for k in range(shape[a]):
        position = np.delete(source + (k - source[a]) / d[a] * d, a)
        plane = np.take(volume, k, axis=a)
        position = np.clip(position, 0, np.array(plane.shape) - 1)
        corner = np.minimum(position.astype(int), np.maximum(np.array(plane.shape) - 2, 0))
        (u, v), (i, j) = position - corner, corner
        i1, j1 = min(i + 1, plane.shape[0] - 1), min(j + 1, plane.shape[1] - 1)
        value = (1 - u) * (1 - v) * plane[i, j] + u * (1 - v) * plane[i1, j]
        values.append(value + (1 - u) * v * plane[i, j1] + u * v * plane[i1, j1])
    knots = np.array([low, *[k for k in range(shape[a]) if low < k < high], high])
    total = np.trapezoid(np.interp(knots, np.arange(shape[a]), values), knots)
    return float(total * np.linalg.norm(d) / abs(d[a]))


FRAMES = {
    "along x": frame_of([-40, 4.1, 5.3], [40, -3.7, -4.2], [0.1, 1.3, 0], [0, 0.05, 1.4]),
    "along -y": frame_of([3, 60, 5], [-4.3, -30, -3.8], [1.2, 0.03, 0.1], [0.04, 0.1, 1.3]),
    "along z": frame_of([3, 4, -50], [-4.1, -3.9, 30], [1.3, 0, 0.1], [0.1, 1.2, 0]),
    "all dominant axes": frame_of([-6, -7, -8], [30, -2, -3], [-2.9, 2.7, 0.2], [0.1, 0.3, 2.9]),
    "source inside": frame_of([4.3, 3.1, 4.7], [-30, -11.3, -12.4], [0.4, 2.3, 0.1], [0.2, 0, 2.6]),
    "detector inside": frame_of([-40, 4, 5], [4.3, -3.6, -4.1], [0, 1.2, 0.1], [0.1, 0.1, 1.3]),
    "both inside": frame_of([2.2, 2.6, 3.1], [6.17, 1.23, 2.28], [0.05, 0.4, 0.02], [0.01, 0.1, 0.5]),
    "most miss": frame_of([-40, 20, 5], [40, -7.7, -4.2], [0.1, 3.3, 0], [0, 0.05, 3.4]),
    "all miss": frame_of([-40, 40, 50], [40, 41, 51], [0, 1, 0], [0, 0, 1]),
    "parallel to an axis": frame_of([-40, 3, 4], [40, 3, 4], [0, 0, 0], [0, 0, 0]),
}
SHAPE = (9, 8, 10)


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(3), dtype=F64)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_ray_is_josephs_sum(name: str, dtype: torch.dtype, noise: Tensor) -> None:
    frame, (rows, columns) = FRAMES[name], (7, 6)
    image = project(noise.to(dtype), frame, torch.eye(4), rows, columns)[0]
    source, first, column, row = frame[0].numpy()
    expected = [
        [defined_integral(noise.numpy(), source, first + j * column + i * row) for j in range(columns)]
        for i in range(rows)
    ]
    tolerance = 1e-9 if dtype == F64 else 1e-4
    np.testing.assert_allclose(image.numpy(), expected, rtol=tolerance, atol=tolerance)
    assert image.dtype == dtype
    assert (image.max() > 0) == (name != "all miss")


SHEARED = torch.diag(torch.tensor([0.9, 1.7, 2.3, 1.0], dtype=F64))
SHEARED[0, 1] = 0.2  # lengths depend on the direction in a general way


@pytest.mark.parametrize("name", [name for name in FRAMES if name != "parallel to an axis"])
def test_gradient_by_the_rays_is_that_of_the_value(name: str, noise: Tensor) -> None:
    frames = torch.cat([FRAMES[name], FRAMES["along -y"]]).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: project(noise, f, SHEARED, 4, 5), (frames,), atol=1e-5)


@pytest.mark.parametrize("name", FRAMES)
def test_gradient_by_the_volume_is_the_adjoint(name: str, noise: Tensor) -> None:
    frames = torch.cat([FRAMES[name], FRAMES["along -y"]])
    volume = noise.clone().requires_grad_()
    weights = torch.rand(2, 7, 6, generator=torch.Generator().manual_seed(1), dtype=F64) - 0.5
    (project(volume, frames, SHEARED, 7, 6) * weights).sum().backward()
    other = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2), dtype=F64)
    assert volume.grad is not None
    expected = (project(other, frames, SHEARED, 7, 6) * weights).sum()  # the projection is linear
    assert (volume.grad * other).sum().item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 6, 7), (6, 1, 7), (6, 7, 1), (1, 1, 5), (1, 1, 1)])
def test_volumes_of_one_slice(shape: tuple[int, int, int]) -> None:
    volume = torch.full(shape, 2.0, dtype=F64, requires_grad=True)
    middle = [(n - 1) / 2 + 0.01 for n in shape]
    frame = frame_of(
        [-30.0, -20.0, -10.0], [2 * m + o for m, o in zip(middle, (30, 20, 10), strict=True)], [0] * 3, [0] * 3
    )
    frame.requires_grad_()
    image = project(volume, frame, torch.eye(4), 1, 1)
    expected = defined_integral(volume.detach().numpy(), frame[0, 0].detach().numpy(), frame[0, 1].detach().numpy())
    assert image.item() == pytest.approx(expected)
    image.sum().backward()
    assert volume.grad is not None
    assert (volume.grad * volume).sum().item() == pytest.approx(expected)  # the integral is linear in the volume


@pytest.mark.parametrize("view", range(6))
def test_constant_volume_gives_the_length_of_the_ray_in_the_box(view: int, detector: Detector) -> None:
    affine = torch.diag(torch.tensor([1.1, -1.3, 2.2, 1.0], dtype=F64))
    affine[:3, 3] = torch.tensor([-30.0, 30.0, -40.0])
    pose = along_axis(view) if view < 3 else random_poses(view, 1)
    volume = torch.ones(1, 52, 45, 38, dtype=F64)
    joseph, siddon = (render(volume, pose, detector, affine, backend) for backend in ("joseph", "diffdrr"))
    assert torch.allclose(joseph, siddon, atol=1e-5)
    assert siddon.max() > 40


def refined(volume: Tensor, affine: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The same volume on a finer grid (linear between voxel centres, constant in the outer half voxels)."""
    finer = torch.nn.functional.interpolate(volume[None, None], scale_factor=factor, mode="trilinear")[0, 0]
    matrix = affine.clone()
    matrix[:3, :3] /= factor
    matrix[:3, 3] += affine[:3, :3] @ torch.full((3,), (1 / factor - 1) / 2, dtype=F64)
    return finer, matrix


def correlation_gradient(
    volume: Tensor, affine: Tensor, pose: Tensor, detector: Detector, backend: str, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Image, and gradient (6,) of its correlation with the target by angles (in units of 1/50 rad) and mm."""
    angles, translation = (value.clone().requires_grad_() for value in pose_to_euler(pose))
    image = render(volume[None], euler_to_pose(angles, translation), detector, affine, backend)
    by_angles, by_mm = torch.autograd.grad(ncc(image.double(), target).sum(), [angles, translation])
    return image.detach(), torch.cat([by_angles / 50, by_mm], dim=1)[0]


def assert_like_siddon(
    volume: Tensor, affine: Tensor, pose: Tensor, detector: Detector, factor: int = 1, min_cosine: float = 0.999
) -> None:
    """Same image and same registration gradient as DiffDRR's Siddon in float64.

    Siddon's voxels are boxes of constant value, ours are interpolated. Seen obliquely the difference averages out; for
    rays nearly along the grid, few samples or little structure it is Siddon's discretisation that shows, and the same
    volume on a grid that is ``factor`` times finer is the fair reference.
    """
    generator = torch.Generator().manual_seed(9)
    angles, translation = pose_to_euler(pose)
    angles = angles + 0.05 * torch.randn(1, 3, generator=generator, dtype=F64)
    translation = translation + 8 * torch.randn(1, 3, generator=generator, dtype=F64)
    fine_volume, fine_affine = refined(volume, affine, factor)
    target = render(fine_volume[None], euler_to_pose(angles, translation), detector, fine_affine, "diffdrr")
    reference, expected = correlation_gradient(fine_volume, fine_affine, pose, detector, "diffdrr", target)
    image, gradient = correlation_gradient(volume.float(), affine, pose, detector, "joseph", target)
    assert reference.max() > 0.3
    assert relative_rmse(image, reference) <= 5e-3
    assert torch.cosine_similarity(gradient, expected, dim=0) >= min_cosine


@pytest.fixture(scope="module")
def resolved() -> tuple[Tensor, Tensor]:
    """Anisotropic volume whose structures are several voxels wide."""
    return smooth_volume((112, 96, 80), (0.55, 0.65, 1.1))


@pytest.mark.parametrize("seed", range(6))
def test_oblique_views_are_siddons(seed: int, resolved: tuple[Tensor, Tensor], detector: Detector) -> None:
    assert_like_siddon(*resolved, random_poses(seed, 1), detector)


@pytest.mark.parametrize("axis", range(3))
def test_views_along_each_axis_are_siddons(axis: int, resolved: tuple[Tensor, Tensor], detector: Detector) -> None:
    assert_like_siddon(*resolved, along_axis(axis), detector, factor=3)


@pytest.mark.parametrize("seed", range(4))
def test_source_inside_the_volume_is_siddons(seed: int, resolved: tuple[Tensor, Tensor]) -> None:
    unit = 2 * torch.rand(1, 6, generator=torch.Generator().manual_seed(seed), dtype=F64) - 1
    pose = euler_to_pose(unit[:, :3] * torch.tensor([0.5, 0.26, 0.43]), unit[:, 3:] * torch.tensor([10.0, 10.0, 15.0]))
    assert_like_siddon(*resolved, pose, Detector(36, 44, (4.1, 5.2), 300.0), factor=3)


def test_rays_that_miss_are_zero(phantom: tuple[Tensor, Tensor]) -> None:
    volume, affine = phantom
    detector = Detector(30, 30, (20.0, 20.0), 1020.0)
    pose = random_poses(1, 1)
    siddon, joseph = (render(volume[None] + 0.01, pose, detector, affine, backend) for backend in ("diffdrr", "joseph"))
    assert 0.02 < (siddon > 0).double().mean() < 0.3
    assert torch.equal(siddon > 1e-9, joseph > 1e-9)
    away = pose.clone()
    away[:, :3, 3] += 5000
    assert render(volume[None], away, detector, affine).abs().max() == 0


@pytest.fixture(scope="module")
def chest() -> tuple[Tensor, Tensor]:
    """The CT inside DiffDRR as attenuation, resampled to isotropic 4 mm by means, and its affine centred on the
    origin.
    """
    image = nib.Nifti1Image.from_filename(str(importlib.resources.files("diffdrr") / "data" / "cxr.nii.gz"))
    hu = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float64))
    spacing = torch.from_numpy(np.array(image.header.get_zooms()[:3], dtype=np.float64))
    shape = [round(n * s / 4.0) for n, s in zip(hu.shape, spacing.tolist(), strict=True)]
    volume = torch.nn.functional.interpolate(hu_to_attenuation(hu)[None, None], shape, mode="area")[0, 0]
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=F64))
    affine[:3, 3] = -4.0 * (torch.tensor(shape) - 1) / 2
    return volume, affine


@pytest.mark.parametrize("seed", range(3))
def test_real_chest_is_siddons(seed: int, chest: tuple[Tensor, Tensor]) -> None:
    # less alike than the phantom: the CT is cut off at both ends, and noise differs from voxel to voxel
    detector = Detector(48, 48, (6.0, 6.0), 1020.0)
    assert_like_siddon(*chest, random_poses(20 + seed, 1), detector, factor=2, min_cosine=0.995)


def test_views_of_a_batch_and_channels_are_independent(phantom: tuple[Tensor, Tensor], detector: Detector) -> None:
    volume, affine = phantom
    channels, poses = torch.stack([volume, volume.flip(0)]), random_poses(5, 3)
    together = render(channels, poses, detector, affine)
    assert together.shape == (3, 2, detector.rows, detector.columns)
    for view in range(3):
        for channel in range(2):
            alone = render(channels[channel][None], poses[view], detector, affine)
            assert torch.equal(alone[0, 0], together[view, channel])


def test_result_does_not_depend_on_the_threads(phantom: tuple[Tensor, Tensor], detector: Detector) -> None:
    volume, affine = phantom
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            density, pose = volume.float()[None].requires_grad_(), random_poses(6, 2).requires_grad_()
            image = render(density, pose, detector, affine)
            gradients = torch.autograd.grad((image**2).sum(), [pose, density])
            results.append((image.detach(), *gradients))
    finally:
        torch.set_num_threads(threads)
    for one, other in pairwise(results):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_threads_and_forked_processes_may_render(phantom: tuple[Tensor, Tensor], detector: Detector) -> None:
    volume, affine = phantom
    pose = random_poses(7, 1)
    expected = render(volume[None], pose, detector, affine)  # starts the threads of this process
    with ThreadPoolExecutor(4) as pool:
        images = pool.map(lambda _: render(volume[None], pose, detector, affine), range(8))
    assert all(torch.equal(image, expected) for image in images)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if torch.equal(render(volume[None], pose, detector, affine), expected) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_pose_gradient_reaches_any_parametrisation(phantom: tuple[Tensor, Tensor], detector: Detector) -> None:
    volume, affine = phantom
    target = render(volume[None].float(), random_poses(8, 1), detector, affine)
    angles, translation = (value.clone() for value in pose_to_euler(random_poses(8, 1)))
    start = angles + 0.02, translation + 3.0
    first, second = (value.requires_grad_() for value in start)
    optimizer = torch.optim.Adam([{"params": first, "lr": 2e-3}, {"params": second, "lr": 0.5}])
    first_loss = 0.0
    for step in range(60):
        optimizer.zero_grad()
        loss = ((render(volume[None].float(), euler_to_pose(first, second), detector, affine) - target) ** 2).mean()
        first_loss = loss.item() if step == 0 else first_loss
        loss.backward()
        optimizer.step()
    assert loss < first_loss / 100


def test_wrong_input_is_refused(noise: Tensor) -> None:
    frame = FRAMES["along x"]
    with pytest.raises(ValueError, match="float32 or float64"):
        project(noise.half(), frame, torch.eye(4), 2, 2)
    with pytest.raises(ValueError, match="finite"):
        project(noise, frame * math.nan, torch.eye(4), 2, 2)


MEMORY = """
import resource, torch
from shared.drr import Detector, euler_to_pose, render
torch.set_num_threads(2)
volume, affine = torch.ones(1, 256, 256, 256), torch.eye(4, dtype=torch.float64)
affine[:3, 3] = -127.5
def step(size):
    angles = torch.tensor([[0.3, 0.2, 0.1]], requires_grad=True)
    pose = euler_to_pose(angles, torch.tensor([[0.0, 850.0, 0.0]]))
    render(volume, pose, Detector(size, size, (1.06, 1.06), 1020.0), affine).square().mean().backward()
step(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(256)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_beside_the_volume_is_small() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert float(done.stdout) < 64  # MB; a float32 volume of this size alone has 64


def test_smooth_phantom_has_contrast() -> None:
    volume, _ = smooth_volume((20, 20, 20), (1.0, 1.0, 1.0))
    assert volume.max() > 0.04
    assert volume.min() < 1e-4
