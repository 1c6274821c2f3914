"""One bone among others: found in the whole of two views, by what lies around its shadow alone."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundles.xray_ct_registration.scripts import bone_search
from bundles.xray_ct_registration.scripts.bone_registration import BoneSchedule, shadow_seen
from bundles.xray_ct_registration.scripts.bone_search import camera_at, meeting_point, rotations, search_bone
from bundles.xray_ct_registration.scripts.landmark_start import landmark_start
from bundles.xray_ct_registration.scripts.local_poses import local_poses
from bundles.xray_ct_registration.scripts.metrics import mtre
from bundles.xray_ct_registration.scripts.patient import PatientModel, load_patient, make_patient, render_patient
from bundles.xray_ct_registration.scripts.pose_space import PoseSpace
from bundles.xray_ct_registration.scripts.radiographs import LoadViews, registration_cases
from bundles.xray_ct_registration.scripts.register import is_single_bone, register
from bundles.xray_ct_registration.scripts.silhouette import around_shadow, cropped
from bundles.xray_ct_registration.scripts.simulate import arc
from bundles.xray_ct_registration.scripts.start_pose import LoadStart, read_start
from bundles.xray_ct_registration.scripts.views import RadiographView, make_view
from shared.drr.geometry import Detector, project_points
from shared.io.errors import CaseError
from tests.xray_ct_registration.patient import patient as whole_patient

DETECTOR = Detector(120, 140, (2.0, 2.0), 1000.0)
DISTANCE_MM = 800.0


def grid(shape: tuple[int, int, int], spacing: float) -> tuple[np.ndarray, torch.Tensor]:
    """Points (X, Y, Z, 3) [mm] about the middle, and the affine."""
    axes = [(np.arange(n) - (n - 1) / 2) * spacing for n in shape]
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([axis[0] for axis in axes])
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1), affine


def paint(hu: np.ndarray, points: np.ndarray, centre: tuple, radii: tuple, value: float) -> None:
    hu[(((points - np.array(centre)) / np.array(radii)) ** 2).sum(-1) < 1] = value


def paint_bone(hu: np.ndarray, points: np.ndarray) -> None:
    """A shaft with a thick end, a knob and a hollow: no rotation maps it onto itself."""
    paint(hu, points, (0, 0, -6), (5, 6, 30), 1200)
    paint(hu, points, (3, 0, 22), (13, 8, 9), 900)
    paint(hu, points, (-6, 7, -14), (6, 4, 5), 1400)
    paint(hu, points, (0, 0, -10), (2, 3, 18), -50)


@functools.cache
def bone() -> PatientModel:
    points, affine = grid((30, 26, 70), 1.2)
    hu = np.full(points.shape[:3], -1000.0, dtype=np.float32)
    paint_bone(hu, points)
    return make_patient(MetaTensor(torch.from_numpy(hu)[None], affine=affine))


@functools.cache
def limb() -> PatientModel:
    """The same bone in soft tissue beside another one that is larger."""
    points, affine = grid((80, 70, 90), 1.5)
    hu = np.full(points.shape[:3], -1000.0, dtype=np.float32)
    paint(hu, points, (6, 4, 0), (50, 42, 400), 40)
    paint(hu, points, (30, 10, 5), (9, 8, 60), 1000)
    paint(hu, points, (26, 14, -30), (14, 10, 10), 800)
    paint_bone(hu, points)
    return make_patient(MetaTensor(torch.from_numpy(hu)[None], affine=affine))


TRUE = camera_at(rotations(40.0)[17:18], torch.tensor([[14.0, -9.0, 810.0]], dtype=torch.float64), torch.zeros(3))[0]


@functools.cache
def views() -> tuple[RadiographView, ...]:
    """Two views at right angles of the limb with noise."""
    found = []
    for number, relative in enumerate((torch.eye(4, dtype=torch.float64), arc(1.5, DISTANCE_MM)[0])):
        image = render_patient(limb(), TRUE[None] @ relative, DETECTOR)[0, 0]
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(number))
        found.append(make_view(image + 0.02 * noise, DETECTOR, relative))
    return tuple(found)


def turned(degrees: float, mm: float) -> torch.Tensor:
    """A pose that far from the true one."""
    space = local_poses(TRUE, bone().isocenter, 40.0)
    axis = torch.tensor([0.6, -0.5, 0.62], dtype=torch.float64)
    shift = torch.tensor([0.7, 0.1, -0.7], dtype=torch.float64)
    parameters = torch.cat([axis / axis.norm() * np.radians(degrees), shift / shift.norm() * mm])
    return space.to_pose(parameters[None], bone().isocenter)[0]


def test_rotations_are_even() -> None:
    turns = rotations(30.0)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).double().expand_as(turns), atol=1e-9, rtol=0)
    some = rotations(40.0)[::7]
    cosine = (torch.einsum("nij,mij->nm", some, turns) - 1) / 2
    nearest = torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).min(dim=1).values
    assert float(nearest.max()) < 30 and float(nearest.mean()) < 18


def test_axes_meet_in_the_isocentre_of_a_c_arm() -> None:
    expected = torch.tensor([0.0, 0.0, DISTANCE_MM]).double()
    torch.testing.assert_close(meeting_point(views(), 500.0), expected, atol=0.5, rtol=0)
    torch.testing.assert_close(meeting_point(views()[:1], 500.0)[2], torch.tensor(500.0).double(), atol=5, rtol=0)


def test_what_is_cut_out_is_the_same_picture() -> None:
    whole = render_patient(bone(), TRUE, DETECTOR)
    part = render_patient(bone(), TRUE, cropped(DETECTOR, 30, 20, 50, 60))
    torch.testing.assert_close(part, whole[..., 30:80, 20:80], atol=1e-4, rtol=0)


def test_around_the_shadow_lies_what_counts() -> None:
    rendered = render_patient(bone(), TRUE, DETECTOR)
    near = around_shadow(views()[0], rendered, 3)
    assert near is not None and near.image.shape == near.mask.shape == (1, 1, near.detector.rows, near.detector.columns)
    seen = render_patient(bone(), TRUE, near.detector) > 0.1
    assert bool((near.mask[seen] == 1).all()) and float(near.mask.sum()) < 4 * float(seen.sum())
    assert around_shadow(views()[0], torch.zeros_like(rendered)) is None


def test_a_local_pose_of_zeros_is_the_base() -> None:
    space = local_poses(TRUE, bone().isocenter, 40.0)
    torch.testing.assert_close(space.to_pose(torch.zeros(1, 6).double(), bone().isocenter)[0], TRUE)
    assert space.distance_mm == pytest.approx(810.0)
    shift = torch.tensor([[0, 0, 0, 1.0, 2.0, 3.0]]).double()
    moved = torch.linalg.inv(TRUE) @ space.to_pose(shift, bone().isocenter)[0]
    torch.testing.assert_close(moved[:3, 3], torch.tensor([1.0, 3.0, 2.0]).double())


def test_bone_alone_is_told_from_a_patient() -> None:
    assert bone().alone and not limb().alone and not whole_patient().alone
    assert is_single_bone(bone(), views(), DISTANCE_MM, "auto")
    assert not is_single_bone(limb(), views(), DISTANCE_MM, "auto") and is_single_bone(limb(), views(), 1.0, True)
    small = [make_view(torch.rand(30, 30), Detector(30, 30, (2.0, 2.0), 1000.0))]
    assert not is_single_bone(bone(), small, DISTANCE_MM, "auto")


def quicken(monkeypatch) -> None:
    """Coarser rotations and levels, enough for a bone of this size."""
    quick = BoneSchedule(starts=12, levels=((32, 12), (64, 16), (128, 12)), keep=(4, 2, 2))
    monkeypatch.setattr(bone_search, "STEP_DEG", 20.0)
    monkeypatch.setattr("bundles.xray_ct_registration.scripts.register.BoneSchedule", lambda: quick)


def test_a_bone_is_found_without_a_start(monkeypatch) -> None:
    monkeypatch.setattr(bone_search, "STEP_DEG", 17.0)
    result = register(bone(), views(), PoseSpace(center_mm=(0.0, DISTANCE_MM, 0.0)))
    assert result.start == "search" and result.confidence.accepted, result.confidence
    assert mtre(bone(), result.camera_to_world, TRUE) < 1.2
    assert len(result.trajectory_poses) == len(result.trajectory.parameters) > 10


def test_a_start_20_degrees_and_20_mm_away_is_enough(monkeypatch) -> None:
    quicken(monkeypatch)
    start = turned(20.0, 20.0)
    assert mtre(bone(), start, TRUE) > 15
    result = register(bone(), views(), PoseSpace(center_mm=(0.0, DISTANCE_MM, 0.0)), start=start)
    assert result.confidence.accepted and mtre(bone(), result.camera_to_world, TRUE) < 1.2


def test_a_right_start_is_kept(monkeypatch) -> None:
    """The search is made to propose nothing but wrong poses."""
    quicken(monkeypatch)
    wrong = torch.stack([turned(40.0, 30.0), turned(-35.0, 25.0)])
    monkeypatch.setattr(
        "bundles.xray_ct_registration.scripts.bone_registration.search_bone", lambda *a, **k: (wrong, torch.ones(2))
    )
    result = register(bone(), views(), PoseSpace(center_mm=(0.0, DISTANCE_MM, 0.0)), start=TRUE)
    assert result.start == "given" and mtre(bone(), result.camera_to_world, TRUE) < 1.2


def test_the_share_of_the_shadow_that_is_exposed() -> None:
    assert shadow_seen(TRUE, bone(), views()) == pytest.approx(1.0, abs=0.02)
    aside = local_poses(TRUE, bone().isocenter, 40.0).to_pose(
        torch.tensor([[0, 0, 0, 130.0, 0, 0]]).double(), bone().isocenter
    )[0]
    assert shadow_seen(aside, bone(), views()) < 0.8


def test_the_search_is_about_the_start_where_one_is_given() -> None:
    poses, _ = search_bone(bone(), views(), DISTANCE_MM, 5, about=TRUE, within_deg=25.0)
    cosine = (torch.einsum("nij,ij->n", poses[:, :3, :3], TRUE[:3, :3]) - 1) / 2
    assert float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max()) < 26


def test_start_poses_are_read(tmp_path) -> None:
    (tmp_path / "a_pose.json").write_text(json.dumps({"camera_to_world": TRUE.tolist()}))
    (tmp_path / "matrix.json").write_text(json.dumps(TRUE.tolist()))
    for name in ("a_pose.json", "matrix.json"):
        torch.testing.assert_close(read_start(tmp_path / name), TRUE)
    case = {"case": "a", "image": MetaTensor(torch.zeros(1, 2, 2))}
    torch.testing.assert_close(LoadStart(tmp_path)(case)["image"].meta["start"], TRUE)
    other = {"case": "b", "image": MetaTensor(torch.zeros(1, 2, 2))}
    assert "start" not in LoadStart(tmp_path)(other)["image"].meta


@pytest.mark.parametrize("content", ["{}", "[[1, 2], [3, 4]]", "no JSON", json.dumps((2 * TRUE).tolist())])
def test_what_is_no_start_pose_is_refused(tmp_path, content) -> None:
    (tmp_path / "start.json").write_text(content)
    with pytest.raises(CaseError, match="start pose"):
        read_start(tmp_path / "start.json")
    with pytest.raises(CaseError, match="no such start pose"):
        LoadStart(tmp_path / "nowhere.json")


def write_pairs(path, count: int, swap: bool = False):
    """Landmarks of the bone and where two views show them, LPS; with ``swap`` two pixels are exchanged."""
    points = bone().targets[:count]
    rows = []
    for number, view in enumerate(views()):
        pixels = project_points(points, TRUE[None] @ view.camera_to_first, view.detector)[0]
        pixels = pixels.roll(2, 0) if swap else pixels
        rows += [
            f"{number},{u:.2f},{v:.2f},{-x:.3f},{-y:.3f},{z:.3f}"
            for (u, v), (x, y, z) in zip(pixels.tolist(), points.tolist(), strict=True)
        ]
    path.write_text("\n".join(["view,u,v,x,y,z", *rows]))
    return path


def test_landmarks_give_the_start(tmp_path) -> None:
    found = landmark_start(write_pairs(tmp_path / "pairs.csv", 5), views(), 700.0)
    assert mtre(bone(), found, TRUE) < 0.1
    one = landmark_start(write_pairs(tmp_path / "pairs.csv", 5), views(), 900.0)
    assert mtre(bone(), one, TRUE) < 0.1
    item = {"case": "a", "image": MetaTensor(torch.zeros(1, 2, 2), meta={"views": list(views())})}
    start = LoadStart(landmark_pairs=tmp_path / "pairs.csv")(item)["image"].meta["start"]
    assert mtre(bone(), start, TRUE) < 0.1


def test_landmarks_that_do_not_fit_are_refused(tmp_path) -> None:
    with pytest.raises(CaseError, match="no pose brings nearer"):
        landmark_start(write_pairs(tmp_path / "pairs.csv", 8, swap=True), views(), 800.0)
    with pytest.raises(CaseError, match="2 pairs"):
        landmark_start(write_pairs(tmp_path / "pairs.csv", 1), views(), 800.0)
    (tmp_path / "pairs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CaseError, match="is no table"):
        landmark_start(tmp_path / "pairs.csv", views(), 800.0)


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="real images: set BUNDLES_DATA")
def test_a_real_radius_in_two_views_of_a_wrist() -> None:
    """From 20 degrees and 20 mm away to the pose whose outline was checked by eye in both views."""
    folder = Path(os.environ["BUNDLES_DATA"]) / "xray_ct" / "biplane_wrist"
    radius = load_patient(folder / "radius_ct.nii.gz")
    (case,) = registration_cases(folder)
    real = LoadViews(absorbing="dark")(case)["image"].meta["views"]
    by_eye = json.loads((folder / "radius_pose_by_eye.json").read_text())["camera_to_world_of_the_first_view"]
    true = torch.tensor(by_eye, dtype=torch.float64)
    space = local_poses(true, radius.isocenter, radius.extent_mm)
    away = torch.tensor([[0.2, -0.2, 0.2, 12.0, 10.0, -12.0]], dtype=torch.float64)
    result = register(radius, real, PoseSpace(), start=space.to_pose(away, radius.isocenter)[0])
    assert result.confidence.accepted and mtre(radius, result.camera_to_world, true) < 0.5
