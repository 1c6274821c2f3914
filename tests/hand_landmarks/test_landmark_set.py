"""The data file of the landmarks: names, bones, size, side; and another set of landmarks from one such file alone."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bundles.hand_landmarks.scripts.data import hand_datalist
from bundles.hand_landmarks.scripts.landmark_set import SHIPPED, add_shape, fit_shape, read_landmark_set, rotate_onto
from bundles.hand_landmarks.scripts.phantoms.phantom import make_hand, write_hand_dataset
from shared.io.errors import CaseError
from shared.io.point_files import read_landmark_table
from tests.bundles.processes import bundle_command, run_quickly
from tests.bundles.specs.hand_landmarks import SMALL

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "hand_landmarks"
SHIPPED_SET = read_landmark_set()


def test_the_shipped_set() -> None:
    hand = SHIPPED_SET
    assert len(hand) == len(set(hand.names)) == 37
    assert {index for bone in hand.bones for index in bone} == set(range(37))
    assert [hand.names[i] for i in hand.size_between] == ["ulna_styloid_tip", "radius_styloid_tip"]
    assert hand.mm_per_unit(hand.mean) == pytest.approx(1, abs=0.01)
    channels = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    assert tuple(channels["channel_def"].values()) == hand.names


def test_side_of_a_hand_lying_anyhow() -> None:
    for angle in (0.0, 1.0, 2.5, -2.0):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = 3 * SHIPPED_SET.mean @ turn.T
        assert SHIPPED_SET.side_of(points) == "left" and SHIPPED_SET.side_of(points * [-1, 1]) == "right"


def test_the_shape_of_drawn_hands_is_found_again() -> None:
    """Mean and modes of 150 hands that were drawn from known ones, turned and scaled at random."""
    rng = np.random.default_rng(0)
    mean, modes = SHIPPED_SET.mean, SHIPPED_SET.modes[:2]
    hands = []
    for _ in range(150):
        angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(2, 6)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        hands.append(scale * (mean + np.tensordot(rng.normal(size=2), modes, axes=1)) @ turn.T + rng.uniform(0, 100, 2))
    found_mean, found_modes = fit_shape(np.array(hands), SHIPPED_SET.size_between, 50.0)
    residual = found_mean - mean
    assert np.abs(residual).max() < 3
    spread, expected = (np.linalg.norm(m, axis=(1, 2)) for m in (found_modes, modes))
    assert spread[:2] == pytest.approx(expected, rel=0.3) and spread[3] < 0.1 * spread[0]


def test_the_shipped_shape_is_the_fit_to_the_real_training_landmarks() -> None:
    table = Path(os.environ.get("BUNDLES_DATA", "")) / "hand" / "landmarks.csv"
    if "BUNDLES_DATA" not in os.environ or not table.is_file():
        pytest.skip("BUNDLES_DATA is unset or has no hand/landmarks.csv")
    hands = np.array([row.points for row in read_landmark_table(table, 37) if row.split == "train"])
    mean, modes = fit_shape(hands, SHIPPED_SET.size_between, SHIPPED_SET.size_mm)
    # The shipped one lies as the first of the hands does, this one as all do on average.
    turned = rotate_onto(mean, SHIPPED_SET.mean)
    np.testing.assert_allclose(turned, SHIPPED_SET.mean, atol=0.08)
    assert np.abs(turned - mean).max() < 15
    turn = np.linalg.lstsq(mean, turned, rcond=None)[0]
    stored = np.abs(SHIPPED_SET.modes)  # the sign of a mode is arbitrary
    np.testing.assert_allclose(np.abs(modes @ turn), stored, atol=0.08)


def edited(folder: Path, **changes: object) -> str:
    content = {k: v for k, v in {**json.loads(SHIPPED.read_text()), **changes}.items() if v is not None}
    (folder / "points.json").write_text(json.dumps(content))
    return str(folder / "points.json")


def test_a_broken_data_file_gets_one_line(tmp_path: Path) -> None:
    for changes, says in (
        ({"names": None}, "has no entry names"),
        ({"shape": None}, "has no entry shape; add it with: python -m scripts.landmark_set"),
        ({"bones": [["ulna_styloid_tip", "elbow"]]}, "names elbow, which is no landmark"),
        ({"names": ["a", "b"], "bones": [["a", "b"]]}, "2 names and a shape of 37 points"),
    ):
        with pytest.raises(CaseError, match=says):
            read_landmark_set(edited(tmp_path, **changes))
    with pytest.raises(CaseError, match="no such file of landmarks"):
        read_landmark_set(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("names: a, b")
    with pytest.raises(CaseError, match="is no JSON"):
        read_landmark_set(tmp_path / "text.json")


def twenty(points: np.ndarray) -> np.ndarray:
    """20 landmarks that none of the shipped ones is: the middles of bones, (37, 2) to (20, 2)."""
    first, second = np.array(SHIPPED_SET.bones[-20:]).T
    return (points[first] + points[second]) / 2


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantoms with 20 other landmarks, and the data file of these."""
    folder = tmp_path_factory.mktemp("twenty")
    table = write_hand_dataset(folder, 6, size=192)
    rows = read_landmark_table(table)
    with open(table, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "split", *(f"{axis}{i}" for i in range(20) for axis in "xy")])
        for index, row in enumerate(rows):
            split = "validation" if index == 5 else "train"
            writer.writerow([row.image, split, *twenty(row.points).ravel().round(2)])
    names = [f"middle_of_bone_{i}" for i in range(20)]
    content = {
        "names": names,
        "size": {"name": "palm", "between": [names[4], names[16]], "mm": 60},
        "side": {"name": "left", "along": [names[8], names[11]], "across": [names[16], names[4]]},
        "bones": [[names[i], names[i + 1]] for i in range(4, 19) if i % 4 != 3],
    }
    (folder / "points.json").write_text(json.dumps(content))
    add_shape(str(folder / "points.json"), str(table))
    return folder


def call(workflow: str, **options: object) -> str:
    done = run_quickly(bundle_command(BUNDLE, workflow, options), BUNDLE)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_another_set_of_landmarks_without_touching_python(other: Path, tmp_path: Path) -> None:
    """Training, inference and evaluation of 20 landmarks by options and one data file."""
    points = {"points": other / "points.json", **SMALL}
    annotated = {"dataset_dir": other, "landmarks": other / "landmarks.csv"}
    call("train", **points, **annotated, epochs=2, phantoms=0, batch_size=2, output_dir=tmp_path / "run")
    trained = {**points, "ckpt_path": tmp_path / "run" / "model.pt", "min_score": 0}
    call("inference", **trained, dataset_dir=other / "hand_0005.png", output_dir=tmp_path / "results")
    result = json.loads((tmp_path / "results" / "hand_0005_landmarks.json").read_text())
    assert [mark["name"] for mark in result["landmarks"]] == [f"middle_of_bone_{i}" for i in range(20)]
    call("evaluate", **trained, **annotated, split="validation", output_dir=tmp_path / "eval")
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert metrics["summary"]["images"] == 1 and metrics["summary"]["landmarks"] == 20
    hand = read_landmark_set(other / "points.json")
    truth = twenty(make_hand(5, 192).landmarks)
    found = np.array([[mark["x"], mark["y"]] for mark in result["landmarks"]])
    error_mm = np.linalg.norm(found - truth, axis=1).mean() * hand.mm_per_unit(truth)
    assert metrics["summary"]["pe_mean_mm"] == pytest.approx(error_mm, rel=0.01)


def test_phantoms_have_the_shipped_landmarks_alone(other: Path, tmp_path: Path) -> None:
    hand = read_landmark_set(other / "points.json")
    with pytest.raises(CaseError, match="is not the set of the phantoms.*--phantoms 0"):
        hand_datalist(str(other), str(other / "landmarks.csv"), hand, "train", 3, str(tmp_path))


def test_weights_of_another_set_are_refused(other: Path, tmp_path: Path) -> None:
    options = {"points": other / "points.json", "dataset_dir": other / "hand_0005.png", "output_dir": tmp_path}
    done = run_quickly(bundle_command(BUNDLE, "inference", options), BUNDLE)
    assert done.returncode == 1 and "holds weights of another network" in done.stdout
