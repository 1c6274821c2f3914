"""The one function in front of the projectors."""

from __future__ import annotations

import sys

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from shared.drr import BACKENDS, Detector, project_points, render
from tests.drr.volumes import random_poses, relative_rmse

F64 = torch.float64


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bright_voxel_appears_where_it_projects(backend: str) -> None:
    affine = random_poses(3, 1)[0] @ torch.diag(torch.tensor([5.5, -6.0, 6.5, 1.0], dtype=F64))
    affine[:3, 3] = torch.tensor([-30.0, 35.0, -40.0])
    volume = torch.zeros(1, 12, 13, 11, dtype=F64)
    volume[0, 4, 7, 6] = 1.0
    world = (affine @ torch.tensor([4.0, 7.0, 6.0, 1.0], dtype=F64))[None, :3]
    detector = Detector(64, 70, (3.7, 3.6), 1020.0, (5.0, -4.0))
    poses = random_poses(4, 2)
    images = render(volume, poses, detector, affine, backend)[:, 0]
    rows, columns = (torch.arange(n, dtype=F64) for n in (detector.rows, detector.columns))
    total = images.sum((1, 2))
    assert (total > 0.1).all()
    found = torch.stack([(images.sum(1) * columns).sum(1), (images.sum(2) * rows).sum(1)], dim=-1) / total[:, None]
    assert torch.allclose(found, project_points(world, poses, detector)[:, 0], atol=0.3)


def test_backends_agree(phantom: tuple[Tensor, Tensor], detector: Detector) -> None:
    volume, affine = phantom
    pose = random_poses(0, 2)
    images = {name: render(volume[None], pose, detector, affine, name) for name in BACKENDS}
    assert relative_rmse(images["joseph"], images["diffdrr_trilinear"]) < 2e-3
    assert relative_rmse(images["joseph"], images["diffdrr"]) < 1e-2
    assert torch.equal(images["joseph"], render(volume[None], pose, detector, affine))


def test_meta_tensor_brings_its_affine(phantom: tuple[Tensor, Tensor], detector: Detector) -> None:
    volume, affine = phantom
    pose = random_poses(1, 1)
    image = render(MetaTensor(volume[None], affine=affine), pose, detector)
    assert type(image) is Tensor
    assert torch.equal(image, render(volume[None], pose[0], detector, affine))
    with pytest.raises(ValueError, match="affine"):
        render(volume[None], pose, detector)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (dict(backend="raycast"), "unknown backend"),
        (dict(volume=torch.zeros(4, 4, 4)), "C, X, Y, Z"),
        (dict(camera_to_world=torch.eye(3)), "camera_to_world"),
    ],
)
def test_wrong_arguments_are_refused(broken: dict, message: str, detector: Detector) -> None:
    arguments = dict(
        volume=torch.zeros(1, 4, 4, 4), camera_to_world=torch.eye(4), detector=detector, affine=torch.eye(4)
    )
    with pytest.raises(ValueError, match=message):
        render(**(arguments | broken))


def test_missing_nanodrr_says_what_to_do(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanodrr", None)  # as where it is not installed
    for name in [name for name in sys.modules if name.startswith("nanodrr.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match="pip install nanodrr"):
        render(torch.zeros(1, 4, 4, 4), torch.eye(4), detector, torch.eye(4), "nanodrr")
