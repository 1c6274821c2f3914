"""Poses, detectors and what the network sees: known values in, the same values out."""

from __future__ import annotations

import pytest
import torch

from bundles.xray_ct_registration.scripts.metrics import pose_errors
from bundles.xray_ct_registration.scripts.network_io import decode, encode, network_input
from bundles.xray_ct_registration.scripts.patient import reaching_detector, render_patient
from bundles.xray_ct_registration.scripts.pose_file import pose_content, read_pose
from bundles.xray_ct_registration.scripts.pose_space import PoseSpace
from bundles.xray_ct_registration.scripts.simulate import arc
from bundles.xray_ct_registration.scripts.views import exposed, make_view
from shared.drr.geometry import Detector, project_points
from shared.io.json_files import write_json
from tests.xray_ct_registration.patient import DETECTOR, SPACE, a_pose, patient, pose_of


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_pose_parameters_return(view: str) -> None:
    space = PoseSpace(view=view)
    parameters = space.random(20, torch.Generator().manual_seed(0))
    isocenter = torch.tensor([10.0, -20.0, 300.0], dtype=torch.float64)
    back = space.to_parameters(space.to_pose(parameters, isocenter), isocenter)
    torch.testing.assert_close(back, parameters)
    assert float(space.excess(parameters).max()) == 0
    torch.testing.assert_close(decode(encode(parameters, space), space), parameters)


def test_excess_counts_half_widths() -> None:
    outside = SPACE.middle.clone()
    outside[3] += 1.5 * SPACE.half_width[3]
    assert float(SPACE.excess(outside[None])[0]) == pytest.approx(0.5)


def test_grid_cells_cover_the_space() -> None:
    grid = SPACE.grid([8.0, 8.0, 8.0, 20.0, 40.0, 20.0])
    for parameters in SPACE.random(50, torch.Generator().manual_seed(1)):
        gap = (grid - parameters).abs() / torch.tensor([0.07, 0.07, 0.07, 10.0, 20.0, 10.0])
        assert float(gap.amax(dim=1).min()) <= 1.001


def test_moving_the_detector_back_keeps_the_image() -> None:
    model, pose = patient(), pose_of(a_pose())
    far = reaching_detector(DETECTOR, 3000.0)
    assert far.sdd == 3000.0
    points = model.targets
    torch.testing.assert_close(project_points(points, pose[None], far), project_points(points, pose[None], DETECTOR))


def test_coarser_voxels_stay_in_place() -> None:
    model = patient()
    coarse = model.coarser(10.0)
    assert coarse.attenuation.shape == (1, 20, 20, 20)

    def centre_of_mass(s) -> torch.Tensor:
        index = torch.nonzero(s.attenuation[0] >= 0).double()
        weight = s.attenuation[0].flatten().double()
        return (index * weight[:, None]).sum(0) / weight.sum() @ s.affine[:3, :3].T + s.affine[:3, 3]

    torch.testing.assert_close(centre_of_mass(coarse), centre_of_mass(model), atol=0.02, rtol=0)
    assert torch.equal(coarse.isocenter, model.isocenter)


def test_network_sees_the_same_rays_whatever_the_detector() -> None:
    pose = pose_of(a_pose())[None]
    shot = Detector(150, 120, (3.0, 2.5), 1500.0, (20.0, -30.0))
    trained = Detector(48, 48, (3.0, 3.0), 1020.0)
    image = render_patient(patient(), pose, shot)
    seen = network_input(image, torch.ones_like(image), shot, trained)
    direct = render_patient(patient(), pose, trained)
    inside = seen != 0
    assert float(inside.float().mean()) > 0.5
    pair = torch.stack([seen[inside], direct[inside]])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.99


@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_collimated_areas_do_not_count(shade: float) -> None:
    image = 0.2 + 0.6 * torch.rand(80, 100, generator=torch.Generator().manual_seed(0))
    image[0, 50], image[40, 50] = 0.0, 1.0
    image[:12], image[:, 90:] = shade, shade
    mask = exposed(image)
    assert not mask[:12].any() and not mask[:, 90:].any()
    assert mask[20:-5, 5:85].float().mean() > 0.99
    assert float(make_view(image, Detector(80, 100, (1.0, 1.0), 1000.0)).reduced(4).mask[0, 0, :3].max()) == 0


def test_pose_file_round_trip(tmp_path) -> None:
    pose = pose_of(a_pose())
    detector = Detector(30, 40, (1.0, 2.0), 900.0, (3.0, -4.0))
    write_json(tmp_path / "case_pose.json", pose_content("case", pose, detector))
    found, read, content = read_pose(tmp_path / "case_pose.json")
    torch.testing.assert_close(found, pose)
    assert read.to_dict() == detector.to_dict()
    matrix = torch.tensor(content["projection_matrix"], dtype=torch.float64)
    point = patient().targets[:1]
    pixel = matrix @ torch.cat([point[0], torch.ones(1, dtype=torch.float64)])
    torch.testing.assert_close(pixel[:2] / pixel[2], project_points(point, pose[None], detector)[0, 0])


def test_a_broken_pose_file_is_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "a_pose.json").write_text("{}")
    with pytest.raises(Exception, match="a_pose.json: is no pose file"):
        read_pose(tmp_path / "a_pose.json")


def test_errors_of_a_known_shift() -> None:
    true = pose_of(SPACE.middle)
    along = torch.eye(4, dtype=torch.float64)
    along[2, 3] = 5.0  # the camera moves 5 mm along its axis
    errors = pose_errors(patient(), true @ along, true, DETECTOR)
    assert errors["mtre_mm"] == pytest.approx(5.0)
    assert errors["depth_mm"] == pytest.approx(5.0)
    assert errors["mrpe_mm"] < 1.0
    assert errors["rotation_deg"] == pytest.approx(0.0, abs=1e-6)
    assert (errors["success_2mm"], errors["success_10mm"]) == (0.0, 1.0)


def test_an_arc_turns_about_its_isocentre() -> None:
    turned = arc(1.0, 850.0)[0]
    point = torch.tensor([0.0, 0.0, 850.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(turned @ point, point)
    true = pose_of(SPACE.middle)
    assert pose_errors(patient(), true @ turned, true, DETECTOR)["rotation_deg"] == pytest.approx(57.29578, abs=1e-3)
