"""Pictures that are not one upright hand on square pixels: two hands, long pixels, a light background with a wedge."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from bundles.hand_landmarks.scripts.landmark_set import read_landmark_set
from bundles.hand_landmarks.scripts.phantoms.phantom import make_hand, to_uint8
from bundles.hand_landmarks.scripts.points import to_file_indices
from bundles.hand_landmarks.scripts.several_hands import hand_boxes, separate_hands
from bundles.hand_landmarks.scripts.transforms import StandardizeHandd, bright_corners
from shared.io.cases import find_cases
from tests.bundles.processes import bundle_command, run_quickly

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "hand_landmarks"
READER = "shared.xray.reader.XrayReader"
HAND = read_landmark_set()
SIZE = 500
WEDGE = 0.3
Truth = dict[str, np.ndarray]


def pair(seeds: tuple[int, int], gap: int, sides: tuple[str, str] = ("left", "right")) -> tuple[np.ndarray, list]:
    """Two hands beside each other, ``gap`` pixels apart (or pushed into each other), and the landmarks of both."""
    hands = [make_hand(seed, SIZE, side) for seed, side in zip(seeds, sides, strict=True)]
    start = hands[0].image.shape[0] + gap
    shape = start + hands[1].image.shape[0], max(hand.image.shape[1] for hand in hands)
    page = np.zeros(shape, dtype=np.float32)
    for offset, hand in zip((0, start), hands, strict=True):
        background = float(np.percentile(hand.image, 10))  # one exposure has one background
        shown = np.clip((hand.image - background) / (1 - background), 0, 1)
        x, y = shown.shape
        page[offset : offset + x, :y] = np.maximum(page[offset : offset + x, :y], shown)
    return 0.1 + 0.9 * page, [hands[0].landmarks, hands[1].landmarks + [start, 0]]


def with_wedge(image: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    """The picture, pale on a light background, with a white triangle in its upper right corner."""
    x, y = np.meshgrid(*(np.linspace(0, 1, size) for size in image.shape), indexing="ij")
    noise = np.random.default_rng(seed).normal(0, 0.006, image.shape)
    pale = level + 0.6 * (1 - level) * image + noise
    return np.where((1 - x) + y < WEDGE, 1.0, np.clip(pale, 0, 0.95)).astype(np.float32)


@pytest.mark.parametrize("sides", [("left", "right"), ("right", "left"), ("left", "left")])
@pytest.mark.parametrize("gap", [40, -20])
def test_two_hands_are_told_apart(gap: int, sides: tuple[str, str]) -> None:
    page, truths = pair((1, 2), gap, sides)
    for shown in (page, 1 - page):
        boxes = hand_boxes(shown)
        assert len(boxes) == 2
        for (left, right, top, bottom), truth in zip(boxes, truths, strict=True):
            assert (truth > np.array([left, top]) - 3).all() and (truth < np.array([right, bottom]) + 3).all()


def test_one_hand_is_one_hand() -> None:
    for seed in range(12):
        image = make_hand(seed, SIZE).image
        for shown in (image, 1 - image, np.rot90(image), image[:, : SIZE * 2 // 3]):
            whole = [[0, shown.shape[0], 0, shown.shape[1]]]
            assert hand_boxes(np.ascontiguousarray(shown)) == whole, seed
    assert hand_boxes(np.zeros((100, 80))) == [[0, 100, 0, 80]]


def test_cases_of_several_hands_have_names_of_their_own(tmp_path: Path) -> None:
    page = to_uint8(pair((1, 2), 40)[0]).T
    for name in ("a.png", "b.png"):
        Image.fromarray(page).save(tmp_path / name)
    Image.fromarray(to_uint8(make_hand(22, SIZE).image).T).save(tmp_path / "a_1.png")
    (tmp_path / "c.png").write_text("no picture")
    cases = separate_hands(find_cases(tmp_path), READER)
    names = {case["case"]: case.get("hand") for case in cases}
    assert names == {"a_1_hand": "1 of 2", "a_2": "2 of 2", "a_1": None, "b_1": "1 of 2", "b_2": "2 of 2", "c": None}


def test_long_pixels_become_square_on_the_canvas() -> None:
    """A hand stored with every second row: on the canvas it is the hand with all rows."""
    hand = make_hand(22, SIZE)
    canvases = []
    for step in (1, 2):
        affine = torch.diag(torch.tensor([-0.2, -0.2 * step, 1, 1], dtype=torch.float64))
        rows = hand.image.reshape(hand.image.shape[0], -1, step).mean(axis=2)
        image = MetaTensor(torch.as_tensor(rows)[None], affine=affine, meta={"original_affine": affine})
        truth = np.column_stack([hand.landmarks[:, 0], (hand.landmarks[:, 1] + 0.5) / step - 0.5])
        data = StandardizeHandd(canvas=(192, 256))({"image": image, "landmarks": truth})
        assert (to_file_indices(data["landmarks"], data["image"]) - torch.as_tensor(truth)).abs().max() < 1e-3
        canvases.append(data)
    assert (canvases[0]["landmarks"] - canvases[1]["landmarks"]).abs().max() < 0.1
    assert (canvases[0]["image"] - canvases[1]["image"]).abs().mean() < 0.01


def test_white_corners_are_found_and_backgrounds_and_frames_are_not() -> None:
    for seed in (13, 22, 27, 40):
        image = make_hand(seed, SIZE).image
        x, y = np.meshgrid(*(np.linspace(0, 1, size) for size in image.shape), indexing="ij")
        wedge, found = (1 - x) + y < WEDGE, bright_corners(with_wedge(image, 0.5))
        assert found[wedge].mean() > 0.97 and found[(1 - x) + y > WEDGE + 0.1].sum() == 0
        assert not bright_corners(1 - image).any(), "the background of an inverted picture"
        framed = np.pad(image, 30, constant_values=1.0)
        assert not bright_corners(framed).any(), "a frame"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, dict[str, dict], Path]:
    """The truth of every hand, its JSON after inference with the shipped weights, and the folder of the results."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "input").mkdir()
    truth: Truth = {}
    for name, gap in (("apart", 40), ("touching", -20)):
        page, (truth[f"{name}_1"], truth[f"{name}_2"]) = pair((1, 2), gap)
        Image.fromarray(to_uint8(page).T).save(folder / "input" / f"{name}.png")
    hand = make_hand(27, SIZE)
    for level in (0.5, 0.7):
        name = f"wedge_{level:g}".replace(".", "")
        truth[name] = hand.landmarks
        Image.fromarray(to_uint8(with_wedge(hand.image, level)).T).save(folder / "input" / f"{name}.png")
    rows = hand.image.reshape(hand.image.shape[0], -1, 2).mean(axis=2)
    truth["long"] = np.column_stack([hand.landmarks[:, 0], (hand.landmarks[:, 1] + 0.5) / 2 - 0.5])
    nib.save(nib.Nifti1Image(rows[..., None], np.diag([-0.2, -0.4, 1, 1])), folder / "input" / "long.nii.gz")
    options = {"dataset_dir": folder / "input", "output_dir": folder / "output"}
    done = run_quickly(bundle_command(BUNDLE, "inference", options), BUNDLE)
    assert done.returncode == 0, done.stdout[-3000:]
    results = {name: json.loads((folder / "output" / f"{name}_landmarks.json").read_text()) for name in truth}
    return truth, results, folder


def errors_mm(truth: np.ndarray, result: dict, pixel: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    points = np.array([[mark["x"], mark["y"]] for mark in result["landmarks"]]) * pixel
    return np.linalg.norm(points - truth * pixel, axis=1) * HAND.mm_per_unit(truth * pixel)


@pytest.mark.parametrize("name", ["apart_1", "apart_2", "touching_1", "touching_2", "wedge_05", "wedge_07", "long"])
def test_the_hand_is_met(answered: tuple[Truth, dict[str, dict], Path], name: str) -> None:
    truth, results, _ = answered
    errors = errors_mm(truth[name], results[name], (1.0, 2.0) if name == "long" else (1.0, 1.0))
    print(f"{name}: {errors.mean():.2f} mm, worst {errors.max():.1f} mm")
    assert errors.mean() < 1.5 and errors.max() < 8, errors.round(1)


def test_each_hand_of_two_says_so_and_has_all_files(answered: tuple[Truth, dict[str, dict], Path]) -> None:
    truth, results, folder = answered
    for name, which, side in (("apart_1", "hand 1 of 2", "left"), ("apart_2", "hand 2 of 2", "right")):
        assert any(which in warning for warning in results[name]["warnings"]) and results[name]["side"] == side
    names = {path.name for path in (folder / "output").iterdir()}
    parts = ("landmarks.json", "overlay.png", "landmarks.nii.gz")
    assert names == {f"{name}_{part}" for name in truth for part in parts}
    first, second = (np.asanyarray(nib.load(folder / "output" / f"apart_{n}_landmarks.nii.gz").dataobj) for n in (1, 2))
    assert first.shape == second.shape and not (first * second).any() and len(np.unique(first)) == 38


def test_millimetres_and_bones_of_long_pixels(answered: tuple[Truth, dict[str, dict], Path]) -> None:
    result = answered[1]["long"]
    assert result["mm_per_pixel"] == pytest.approx([0.2, 0.4])
    assert not any("implausible" in warning for warning in result["warnings"])


def test_two_hands_are_evaluated_by_rows_of_their_own(answered: tuple[Truth, dict[str, dict], Path]) -> None:
    truth, _, folder = answered
    with open(folder / "landmarks.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"{axis}{i}" for i in range(37) for axis in "xy")])
        for name in ("apart_1", "apart_2", "touching"):
            writer.writerow([name, *truth["touching_1" if name == "touching" else name].ravel()])
    options = {"dataset_dir": folder / "input", "landmarks": folder / "landmarks.csv", "output_dir": folder / "eval"}
    done = run_quickly(bundle_command(BUNDLE, "evaluate", options), BUNDLE)
    assert done.returncode == 1 and "has no row of image touching_1" in done.stdout
    cases = json.loads((folder / "eval" / "metrics.json").read_text())["cases"]
    assert [case["case"] for case in cases] == ["apart_1", "apart_2"] and max(c["pe_mean_mm"] for c in cases) < 1.5


def test_equal_names_in_two_folders_lose_nothing(tmp_path: Path) -> None:
    for folder, seed in (("one", 22), ("two", 27)):
        (tmp_path / "input" / folder).mkdir(parents=True)
        image = Image.fromarray(to_uint8(make_hand(seed, 300).image).T)
        image.save(tmp_path / "input" / folder / "hand.v1 links.png")
    options = {"dataset_dir": tmp_path / "input", "output_dir": tmp_path / "output", "passes": 1}
    done = run_quickly(bundle_command(BUNDLE, "inference", options), BUNDLE)
    assert done.returncode == 0, done.stdout[-3000:]
    parts = ("landmarks.json", "overlay.png", "landmarks.nii.gz")
    names = {f"{folder}_hand.v1 links_{part}" for folder in ("one", "two") for part in parts}
    assert {path.name for path in (tmp_path / "output").iterdir()} == names
