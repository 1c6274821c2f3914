"""The registration finds a known pose again, knows when it does not, and writes what is promised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from bundles.xray_ct_registration.scripts.animate import animate_results
from bundles.xray_ct_registration.scripts.confidence import AcceptanceLimits, judge
from bundles.xray_ct_registration.scripts.evaluation import MeasureResult, result_folders, write_report
from bundles.xray_ct_registration.scripts.inferer import RegistrationInferer
from bundles.xray_ct_registration.scripts.metrics import mtre
from bundles.xray_ct_registration.scripts.multistart import distinct, moved, search, slide
from bundles.xray_ct_registration.scripts.patient import render_patient
from bundles.xray_ct_registration.scripts.pose_file import pose_content
from bundles.xray_ct_registration.scripts.refine import climb, polish
from bundles.xray_ct_registration.scripts.register import Schedule, register
from bundles.xray_ct_registration.scripts.render import read_result, render_results
from bundles.xray_ct_registration.scripts.results import SaveRegistration
from bundles.xray_ct_registration.scripts.simulate import arc, film, simulate_cases
from bundles.xray_ct_registration.scripts.views import make_view
from bundles.xray_ct_registration.scripts.visualize import visualize_results
from shared.drr.geometry import project_points
from shared.io.json_files import write_json
from shared.xray.pixel_size import on_detector
from tests.bundles.processes import run_bundle
from tests.xray_ct_registration.patient import DETECTOR, SPACE, a_pose, patient, pose_of, view_at, volume

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "xray_ct_registration"

SCHEDULE = Schedule(
    starts=8, coarse=(2.0, 16), middle=(1.5, 16), keep=2, settle=8, fine=((1.0, 15),), spread=2, pixel_mm=1.0
)


def test_sliding_finds_the_shift() -> None:
    image = torch.rand(1, 1, 40, 44, generator=torch.Generator().manual_seed(0))
    view = make_view(image[0, 0, 9:33, 5:29].clone(), DETECTOR.resized(24, 24))
    best, shift = slide(image, view, (8, 10))
    assert float(best[0]) > 0.99
    assert shift[0].tolist() == [5 - 10, 9 - 8]


def test_moved_shifts_the_image_as_told() -> None:
    start = a_pose()
    shift = torch.tensor([[3.0, -2.0]], dtype=torch.float64)
    centre = patient().isocenter[None]
    before = project_points(centre, pose_of(start)[None], DETECTOR)[0, 0]
    after = project_points(centre, pose_of(moved(start[None], shift, SPACE, patient(), DETECTOR)[0])[None], DETECTOR)
    torch.testing.assert_close(after[0, 0] - before, shift[0], atol=0.05, rtol=0)


def test_search_comes_close() -> None:
    true = a_pose(3)
    found, scores = search(SPACE, patient(), view_at(true), 8)
    assert bool((scores[:-1] >= scores[1:]).all())
    assert min(mtre(patient(), pose_of(one), pose_of(true)) for one in found) < 25


def test_refinement_returns_to_the_pose() -> None:
    true = a_pose(1)
    start = true + torch.tensor([0.05, -0.04, 0.03, 5.0, 12.0, -4.0])
    assert mtre(patient(), pose_of(start), pose_of(true)) > 10
    found, values = climb(start[None], SPACE, patient(), [view_at(true)], 2.0, 30)
    best, similarity, gradient = polish(found[0], SPACE, patient(), [view_at(true)], 1.0, 40)
    assert similarity > 0.999 > float(values[0]) - 1e-3
    assert mtre(patient(), pose_of(best), pose_of(true)) < 0.5
    assert gradient < 1e-3


def test_two_views_know_the_depth() -> None:
    true, turn = a_pose(2), arc(1.4, 850.0)[0]
    views = [view_at(true), view_at(true, camera_to_first=turn)]
    start = true + torch.tensor([0.03, -0.02, 0.03, 4.0, 10.0, -4.0])
    found, _ = climb(start[None], SPACE, patient(), views, 2.0, 30)
    best, _, _ = polish(found[0], SPACE, patient(), views, 1.0, 30)
    assert mtre(patient(), pose_of(best), pose_of(true)) < 0.2
    assert abs(float(best[4] - true[4])) < 0.3


def test_distinct_keeps_the_first_of_a_kind() -> None:
    poses = torch.zeros(3, 6).double()
    poses[1, 3], poses[2, 0] = 1.0, 0.2
    assert distinct(poses, 3) == [0, 2]


def test_verdict_names_the_reason() -> None:
    good = {"similarity": 0.99, "disagreement_mm": 0.2, "gradient": 1e-4, "excess": 0.0, "exposed": 0.8}
    assert judge(good, AcceptanceLimits()).accepted
    for name, value, word in (
        ("similarity", 0.3, "does not look like"),
        ("disagreement_mm", 9.0, "equally good"),
        ("gradient", 0.1, "converged"),
        ("excess", 2.0, "range"),
        ("exposed", 0.01, "exposed"),
        ("similarity", float("nan"), "does not look like"),
    ):
        verdict = judge({**good, name: value}, AcceptanceLimits())
        assert not verdict.accepted and word in verdict.reasons[0]


def test_a_right_start_is_not_left_for_a_worse_pose(monkeypatch) -> None:
    """The refinement is made to end elsewhere."""
    true = a_pose(1)
    aside = true + torch.tensor([0.05, -0.04, 0.03, 5.0, 12.0, -4.0])

    def astray(starts, *args, **kwargs):
        return aside.expand_as(starts).clone(), torch.zeros(len(starts)).double()

    monkeypatch.setattr("bundles.xray_ct_registration.scripts.register.climb", astray)
    weak = Schedule(starts=1, coarse=(2.0, 1), middle=(1.5, 1), keep=1, settle=1, fine=((1.0, 1),), pixel_mm=1.0)
    result = register(patient(), [view_at(true)], SPACE, schedule=weak, start=pose_of(true))
    assert result.start == "given" and mtre(patient(), result.camera_to_world, pose_of(true)) < 0.1


def test_noise_is_rejected() -> None:
    noise = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    result = register(patient(), [make_view(noise, DETECTOR)], SPACE, schedule=SCHEDULE)
    assert not result.confidence.accepted


def test_a_simulation_depends_on_its_seed_alone(tmp_path) -> None:
    for folder in ("a", "b"):
        simulate_cases(patient(), tmp_path / folder, SPACE, DETECTOR, 2, backend="joseph")
    for name in ("xray_000.png", "xray_001.png", "truth/xray_001_pose.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "xray_000.png").read_bytes() != (tmp_path / "a" / "xray_001.png").read_bytes()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A registered case, with an oracle for the network that is 10 mm off, and the folder of its results."""
    folder = tmp_path_factory.mktemp("results")
    true = a_pose(1)
    integrals = render_patient(patient(), pose_of(true)[None], DETECTOR)[0, 0]
    view = make_view(film(integrals, torch.Generator().manual_seed(0), degrade=False), DETECTOR)
    answer = (true - SPACE.middle + torch.tensor([0.03, 0.02, -0.03, 4.0, 8.0, -3.0])).float()
    answer[3:] /= 1000
    size = on_detector((1.0, 1.0), "option").content()
    known = {"orientation": "option", "pixel_size": size, "sdd_from": "option", "absorbing": "bright", "warnings": []}
    known["c_arm_camera_to_world"] = None
    meta = {"views": [view], "paths": ["xray.png"], "intake": [known], "filename_or_obj": "xray.png"}
    image = MetaTensor(view.image[0].mT.contiguous(), meta=meta)
    inferer = RegistrationInferer(patient(), SPACE, DETECTOR, SCHEDULE, multistart=False)
    with torch.no_grad():  # as evaluators run
        found = inferer(image, lambda batch: answer[None].expand(len(batch), -1))
    item = SaveRegistration(patient(), str(folder))({"case": "case", "image": image, "pred": found})
    write_json(folder / "truth" / "case_pose.json", pose_content("case", pose_of(true), DETECTOR))
    return folder, found, item, true


def test_the_network_answer_is_refined(results) -> None:
    _, found, item, true = results
    assert found.start == "network"
    assert mtre(patient(), found.initial_camera_to_world, pose_of(true)) > 5
    assert mtre(patient(), found.camera_to_world, pose_of(true)) < 2
    assert item["pred"].shape == item["image"].shape


def test_results_are_written(results) -> None:
    folder, found, _, _ = results
    for name in ("gt.png", "init_image.png", "final_img.png", "preview.png"):
        with Image.open(folder / "case" / name) as picture:
            assert picture.size[0] >= 64
    content = torch.load(folder / "case" / "parameters.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in content.values())
    assert content["trajectory_poses"].shape == (len(content["trajectory"]), 4, 4)
    document = json.loads((folder / "case_pose.json").read_text())
    torch.testing.assert_close(torch.tensor(document["camera_to_world"]).double(), found.camera_to_world)
    assert document["detector"]["rows"] == 64 and "accepted" in document["confidence"]


def test_evaluation_of_results(results, tmp_path) -> None:
    folder, _, _, _ = results
    measure = MeasureResult(tmp_path, patient(), folder / "truth")
    rows = [measure(case) for case in result_folders(folder).values()]
    write_report(rows, tmp_path)
    assert rows[0]["mtre_mm"] < 2
    assert rows[0]["final_ncc"] > rows[0]["initial_ncc"]
    summary = json.loads((tmp_path / "metrics.json").read_text())["summary"]
    assert summary["success_2mm"] == 1.0
    assert (tmp_path / "case_comparison.png").is_file()


def test_results_are_evaluated_without_another_registration(results, tmp_path) -> None:
    folder, _, _, _ = results
    nib.save(nib.Nifti1Image(volume()[0].numpy(), volume().affine.numpy()), tmp_path / "ct.nii.gz")
    options = {"ct": tmp_path / "ct.nii.gz", "truth_dir": folder / "truth", "use_network": False}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    log = run_bundle(BUNDLE, "evaluate", {**options, "dataset_dir": folder, "output_dir": tmp_path / "eval"})
    assert "1 cases: median mTRE" in log
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert {path.name for path in (tmp_path / "eval").iterdir()} == {
        "case_comparison.png",
        "metrics.csv",
        "metrics.json",
    }


def test_finished_cases_are_kept_and_evaluated(results, tmp_path) -> None:
    folder, _, _, _ = results
    shutil.copytree(folder, tmp_path / "eval")
    picture = Image.fromarray(np.full((64, 64), 99, dtype=np.uint8))  # would be refused as blank
    (tmp_path / "xrays").mkdir()
    picture.save(tmp_path / "xrays" / "case.png")
    nib.save(nib.Nifti1Image(volume()[0].numpy(), volume().affine.numpy()), tmp_path / "ct.nii.gz")
    options = {"ct": tmp_path / "ct.nii.gz", "truth_dir": folder / "truth", "use_network": False, "skip_done": True}
    run_bundle(BUNDLE, "evaluate", {**options, "dataset_dir": tmp_path / "xrays", "output_dir": tmp_path / "eval"})
    (row,) = json.loads((tmp_path / "eval" / "metrics.json").read_text())["cases"]
    assert row["case"] == "case" and row["mtre_mm"] < 2


def test_rendering_at_any_size(results, tmp_path) -> None:
    folder, _, _, _ = results
    (path,) = render_results(patient(), folder / "case" / "parameters.pt", tmp_path, size=(50, 90))
    with Image.open(path) as picture:
        assert picture.size == (90, 50)
    from_json, from_pt = (read_result(folder / name) for name in ("case_pose.json", "case/parameters.pt"))
    torch.testing.assert_close(from_json[0], from_pt[0])
    assert from_json[1] == from_pt[1]


def test_animation_and_scene(results, tmp_path) -> None:
    folder, _, _, _ = results
    (gif,) = animate_results(patient(), folder, tmp_path, frames=6, side=48)
    with Image.open(gif) as picture:
        assert 2 <= picture.n_frames <= 6 and picture.size == (144, 48)
    _, html = visualize_results(patient(), folder, tmp_path)
    page = html.read_text()
    assert '"title": "case"' in page and "/*SCENE*/" not in page
    assert "http" not in page and "src=" not in page  # nothing is loaded from elsewhere
