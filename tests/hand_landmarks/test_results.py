"""What is reported about a hand, and the figures of an evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from bundles.hand_landmarks.scripts.data import cases_to_evaluate, hand_datalist, read_split
from bundles.hand_landmarks.scripts.evaluation import HandErrors, HandPointsd
from bundles.hand_landmarks.scripts.landmark_set import read_landmark_set
from bundles.hand_landmarks.scripts.phantoms.phantom import write_hand_dataset
from bundles.hand_landmarks.scripts.pictures import landmark_map
from bundles.hand_landmarks.scripts.results import HandResultd, implausible_bones
from shared.io.errors import CaseError
from shared.io.point_files import LandmarkRow
from shared.xray.pixel_size import on_detector
from tests.xray.test_reader import write_dicom

SHAPE = (400, 600)
HAND = read_landmark_set()
POINTS = HAND.mean * 1.8 + [200, 300]  # pixels of the file: 90 pixels across the wrist


def images(spacing: float | None = None) -> dict:
    """Canvas at half the resolution of the file, and the file; prediction in canvas indices."""
    size = spacing or 1.0
    affine = torch.diag(torch.tensor([-size, -size, 1.0, 1.0], dtype=torch.float64))
    meta = {"original_affine": affine, "filename_or_obj": "a.png", "spatial_shape": SHAPE}
    pixel_size = on_detector((size, size), "PixelSpacing").content() if spacing else None
    meta["intake"] = json.dumps({"pixel_size": pixel_size, "orientation": "unknown", "warnings": []})
    original = MetaTensor(torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0)), affine=affine, meta=meta)
    step = torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0], dtype=torch.float64))
    step[:2, 3] = 0.5
    canvas = MetaTensor(torch.zeros(1, 200, 300), affine=affine @ step, meta={**meta, "inverted": False})
    pred = torch.as_tensor(np.column_stack([(POINTS - 0.5) / 2, np.full(37, 0.9)])).float()
    return {"image": canvas, "original": original, "pred": pred, "case": "a"}


def test_points_come_in_pixels_of_the_file(tmp_path):
    data = HandResultd(HAND, output_dir=str(tmp_path))(images())
    result = json.loads((tmp_path / "a_landmarks.json").read_text())
    assert np.allclose([[m["x"], m["y"]] for m in result["landmarks"]], POINTS, atol=2e-3)
    assert result["mm_per_pixel"][0] == pytest.approx(50 / 90, rel=0.05)
    assert "50 mm" in result["pixel_size"]["from"] and result["side"] == "left" and result["warnings"] == []
    labels = data["pred"][0]
    assert tuple(labels.shape) == SHAPE
    for index in (0, 20, 36):
        assert labels[tuple(np.round(POINTS[index]).astype(int))] == index + 1
    assert (tmp_path / "a_overlay.png").stat().st_size > 10_000


def test_dicom_spacing_wins_over_the_wrist(tmp_path):
    HandResultd(HAND, output_dir=str(tmp_path))(images(spacing=0.2))
    result = json.loads((tmp_path / "a_landmarks.json").read_text())
    assert result["mm_per_pixel"] == [0.2, 0.2] and result["pixel_size"]["from"] == "PixelSpacing"


@pytest.mark.parametrize(
    "tags, mm, source",
    [
        ({"PixelSpacing": [0.24, 0.24], "ImagerPixelSpacing": [0.24, 0.24]}, 0.2, "ImagerPixelSpacing"),
        ({"ImagerPixelSpacing": [0.18, 0.18]}, 0.15, "ImagerPixelSpacing"),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.24, 0.24]}, 0.2, "PixelSpacing"),
    ],
)
def test_lengths_are_those_at_the_hand_where_the_distances_are_known(tmp_path, tags, mm, source):
    distances = {"DistanceSourceToDetector": 1200, "DistanceSourceToPatient": 1000}
    path = write_dicom(tmp_path / "a.dcm", np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 4000, **tags, **distances)
    image = LoadImaged("image", reader="shared.xray.reader.XrayReader")({"image": str(path)})["image"]
    data = images(spacing=mm)
    data["original"].meta["intake"] = image.meta["intake"]
    result = HandResultd(HAND, output_dir=str(tmp_path))(data)["result"]
    assert result["mm_per_pixel"] == pytest.approx([mm, mm]) and result["pixel_size"]["from"] == source
    assert result["pixel_size"]["magnification"] == pytest.approx(1.2) and result["orientation"] == "recognised"


def test_a_pixel_size_that_cannot_be_is_said_and_the_wrist_taken(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 4000, PixelSpacing=[0, 0])
    image = LoadImaged("image", reader="shared.xray.reader.XrayReader")({"image": str(path)})["image"]
    data = images()
    data["original"].meta["intake"] = image.meta["intake"]
    result = HandResultd(HAND, output_dir=str(tmp_path))(data)["result"]
    assert "50 mm" in result["pixel_size"]["from"]
    assert any("PixelSpacing is 0" in line and "no pixel size" in line for line in result["warnings"])


def warnings_of(data: dict) -> list[str]:
    return HandResultd(HAND)(data)["result"]["warnings"]


def test_warnings():
    data = images()
    data["pred"][20, 2] = 0.1
    assert any("low confidence: thumb_tip" in w for w in warnings_of(data))
    data = images()
    data["pred"][36, 0] = -10
    assert any("outside of the picture: little_tip" in w for w in warnings_of(data))
    data = images()
    data["pred"][24, 1] += 60
    assert any("implausible length" in w and "index" in w for w in warnings_of(data))
    data = images()
    data["pred"][:, 0] = 199 - data["pred"][:, 0]
    assert any("right hand" in w for w in warnings_of(data))
    data = images()
    data["image"].meta["inverted"] = True
    assert any("inverted" in w for w in warnings_of(data))


def test_a_bright_area_beside_the_hand_is_said():
    for mirrored in (False, True):
        data = images()
        for index, (x, y) in enumerate(data["pred"][:, :2].round().int().tolist()):
            data["image"][0, x - 6 : x + 7, y - 6 : y + 7] = 0.6 + 0.005 * index
        if mirrored:
            data["pred"][:, 0] = 199 - data["pred"][:, 0]
            data["image"] = data["image"].flip(1)
        assert not any("beside" in w for w in warnings_of(data))
        wide = MetaTensor(torch.zeros(1, 400, 300), affine=data["image"].affine, meta=data["image"].meta)
        wide[:, :200] = data["image"]
        wide[:, 260:330, 60:240] = 0.7
        assert any("size of a hand lies beside" in w for w in warnings_of({**data, "image": wide}))


def test_a_picture_without_a_hand_is_refused():
    data = images()
    generator = torch.Generator().manual_seed(0)
    data["pred"] = torch.cat([torch.rand(37, 2, generator=generator) * 200, torch.full((37, 1), 0.15)], dim=1)
    with pytest.raises(CaseError, match="no hand"):
        HandResultd(HAND)(data)


def test_side_and_bones_do_not_depend_on_size_and_direction():
    for angle in (0.0, 1.0, 2.5, -2.0):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = 3 * HAND.mean @ turn.T
        assert HAND.side_of(points) == "left" and HAND.side_of(points * [-1, 1]) == "right"
        assert implausible_bones(points, HAND) == []
    moved = HAND.mean.copy()
    moved[22, 1] += 30
    assert {tuple(sorted(HAND.bones[i])) for i in implausible_bones(moved, HAND)} >= {(21, 22), (22, 23)}


def test_discs_are_cut_at_the_edge_and_absent_points_left_out():
    labels = landmark_map(np.array([[0.0, 0.0], [50.0, 20.0], [np.nan, 1.0], [-30.0, 4.0]]), (60, 40), 3.0)
    assert labels[0, 0] == 1 and labels[50, 20] == 2 and set(np.unique(labels)) == {0, 1, 2}
    assert (labels == 2).sum() == 29  # pixels within 3 of a centre


def test_figures_of_an_evaluation(tmp_path):
    """Every point 3 pixels off along x: 3 px x 50 mm / wrist, and 3 x 256 / 600 px at 256."""
    data = images()
    truth = POINTS - [3.0, 0.0]
    points = HandPointsd(HAND)({**data, "truth": torch.as_tensor(truth)})
    errors = HandErrors([LandmarkRow("a", None, truth)], "landmarks.csv", HAND, str(tmp_path))
    row = errors.measure(HandResultd(HAND)(data))
    assert np.allclose(points["points"], POINTS, atol=1e-3) and np.allclose(points["reference"], truth)
    assert points["mm_per_pixel"][0] * 3 == pytest.approx(row["pe_mean_mm"], rel=1e-4)
    wrist = np.linalg.norm(POINTS[1] - POINTS[5])
    assert row["pe_mean_mm"] == pytest.approx(3 * 50 / wrist, rel=1e-4)
    assert row["ipe_px256"] == pytest.approx(3 * 256 / 600, rel=1e-4)
    errors.report([row, {**row, "case": "b"}])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["summary"]["pe_mean_mm"] == pytest.approx(row["pe_mean_mm"])
    assert metrics["summary"]["within_2mm"] == 1.0 and metrics["summary"]["outliers_10px256"] == 0
    assert len(metrics["landmarks"]) == 37 and len(metrics["cases"]) == 2
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3
    assert (tmp_path / "cumulative_error.png").is_file()


def test_cases_are_listed_by_split_and_a_missing_image_is_named(tmp_path):
    table = write_hand_dataset(tmp_path / "hands", 5, size=96)
    train = hand_datalist(str(tmp_path / "hands"), str(table), HAND, "train")
    both = hand_datalist(
        str(tmp_path / "hands"), str(table), HAND, "train", phantoms=2, phantom_dir=str(tmp_path / "more")
    )
    assert [case["case"] for case in train] == [f"hand_{i:04d}" for i in range(4)] and len(both) == 6
    assert train[0]["landmarks"].shape == (37, 2)
    with pytest.raises(CaseError, match="no row of the split test"):
        hand_datalist(str(tmp_path / "hands"), str(table), HAND, "test")
    (tmp_path / "hands" / "hand_0002.png").unlink()
    with pytest.raises(CaseError, match="hand_0002"):
        hand_datalist(str(tmp_path / "hands"), str(table), HAND, "train")


def test_a_missing_row_costs_its_own_case(tmp_path):
    table = write_hand_dataset(tmp_path / "hands", 3, size=96)
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    rows = read_split(str(table), HAND)
    cases = cases_to_evaluate(str(tmp_path / "hands"), rows)
    assert [case["case"] for case in cases] == ["hand_0000", "hand_0001", "hand_0002"]
    item, errors = HandResultd(HAND)(images()), HandErrors(rows, str(table), HAND, str(tmp_path))
    assert errors.measure({**item, "case": "hand_0000"})["pe_mean_mm"] > 0
    with pytest.raises(CaseError, match="no row of image a.png"):
        errors.measure({**item, "case": "hand_0002"})


def test_a_split_is_evaluated_alone(tmp_path):
    table = write_hand_dataset(tmp_path / "hands", 5, size=96)
    rows = read_split(str(table), HAND, "validation")
    cases = cases_to_evaluate(str(tmp_path / "hands"), rows, "validation")
    assert cases == [{"image": str(tmp_path / "hands" / "hand_0004.png"), "case": "hand_0004"}]
    with pytest.raises(CaseError, match="no row of the split test"):
        read_split(str(table), HAND, "test")
