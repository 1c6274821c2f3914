"""The shipped weights find the same points however a radiograph comes: mirrored, inverted, 16 bit, resized, turned."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from bundles.hand_landmarks.scripts.landmark_set import read_landmark_set
from bundles.hand_landmarks.scripts.phantoms.phantom import write_hand_dataset
from tests.bundles.processes import run

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "hand_landmarks"
LIMIT_MM = 0.5
HAND = read_landmark_set()
Points = np.ndarray
Variant = tuple[Image.Image, Callable[[Points], Points]]


def mirrored(image: Image.Image) -> Variant:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), lambda p: p * [-1, 1] + [image.width - 1, 0]


def inverted(image: Image.Image) -> Variant:
    return Image.fromarray(255 - np.asarray(image)), lambda p: p


def sixteen_bit(image: Image.Image) -> Variant:
    return Image.fromarray((np.asarray(image).astype(np.uint16) * 200 + 1000).astype(np.uint16)), lambda p: p


def resized(factor: float) -> Callable[[Image.Image], Variant]:
    def make(image: Image.Image) -> Variant:
        size = (round(image.width * factor), round(image.height * factor))
        ratio = np.array(size) / image.size
        return image.resize(size, Image.Resampling.LANCZOS), lambda p: (p + 0.5) / ratio - 0.5

    return make


def white_border(image: Image.Image) -> Variant:
    page = Image.new("L", (image.width + 150, image.height + 90), 255)
    page.paste(image, (100, 30))
    return page, lambda p: p - [100, 30]


def rotated(image: Image.Image) -> Variant:
    """15 degrees about the centre on a canvas that holds the whole picture."""
    turned = image.rotate(15, Image.Resampling.BICUBIC, expand=True)
    angle = np.deg2rad(15)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # counter-clockwise, y down
    old, new = (np.array(i.size) / 2 - 0.5 for i in (image, turned))
    return turned, lambda p: (p - new) @ matrix + old


VARIANTS: dict[str, Callable[[Image.Image], Variant]] = {
    "mirrored": mirrored,
    "inverted": inverted,
    "16bit": sixteen_bit,
    "half": resized(0.5),
    "double": resized(2.0),
    "border": white_border,
    "rotated": rotated,
}


def phantom_files(folder: Path) -> list[Path]:
    write_hand_dataset(folder, 3, seed=900, size=900)
    return sorted(folder.glob("*.png"))


def real_files(folder: Path) -> list[Path]:
    if "BUNDLES_DATA" not in os.environ:
        pytest.skip("BUNDLES_DATA is not set: no real radiographs")
    return sorted((Path(os.environ["BUNDLES_DATA"]) / "hand" / "validation").glob("*.jpg"))[:4]


def read_points(path: Path) -> tuple[Points, dict]:
    result = json.loads(path.read_text())
    return np.array([[mark["x"], mark["y"]] for mark in result["landmarks"]]), result


@pytest.fixture(scope="module", params=[phantom_files, real_files], ids=["phantoms", "real"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """Per variant the mean distance in mm from the points of the untouched image, and the results."""
    folder = tmp_path_factory.mktemp("hands")
    files = request.param(folder / "source")
    (folder / "input").mkdir()
    back: dict[tuple[str, str], Callable[[Points], Points]] = {}
    for file in files:
        image = Image.open(file).convert("L")
        image.save(folder / "input" / f"{file.stem}_plain.png")
        for name, make in VARIANTS.items():
            picture, back[file.stem, name] = make(image)
            picture.save(folder / "input" / f"{file.stem}_{name}.png")
    options = ["--dataset_dir", str(folder / "input"), "--output_dir", str(folder / "output")]
    done = run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *options], BUNDLE
    )
    assert done.returncode == 0, done.stdout[-3000:]
    distances: dict[str, list] = {name: [] for name in VARIANTS}
    for file in files:
        plain, _ = read_points(folder / "output" / f"{file.stem}_plain_landmarks.json")
        mm_per_pixel = HAND.mm_per_unit(plain)
        for name in VARIANTS:
            points, result = read_points(folder / "output" / f"{file.stem}_{name}_landmarks.json")
            moved = back[file.stem, name](points)
            distances[name].append((np.linalg.norm(moved - plain, axis=1).mean() * mm_per_pixel, result))
    return distances


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_points(found: dict[str, list], variant: str) -> None:
    distance = [mm for mm, _ in found[variant]]
    print(f"{variant}: {np.mean(distance):.3f} mm, worst {max(distance):.3f} mm")
    assert max(distance) <= LIMIT_MM, distance


def test_the_side_and_the_polarity_are_reported(found: dict[str, list]) -> None:
    for variant, results in found.items():
        for _, result in results:
            assert result["side"] == ("right" if variant == "mirrored" else "left")
            assert any("inverted" in warning for warning in result["warnings"]) == (variant == "inverted")


def test_the_truth_of_phantoms_is_met(tmp_path: Path) -> None:
    write_hand_dataset(tmp_path / "hands", 6, seed=700)
    options = ["--dataset_dir", str(tmp_path / "hands"), "--output_dir", str(tmp_path / "output")]
    done = run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *options], BUNDLE
    )
    assert done.returncode == 0, done.stdout[-3000:]
    with open(tmp_path / "hands" / "landmarks.csv", newline="") as file:
        for row in csv.DictReader(file):
            truth = np.array([[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(37)])
            points, _ = read_points(tmp_path / "output" / f"{row['image']}_landmarks.json")
            errors_mm = np.linalg.norm(points - truth, axis=1) * HAND.mm_per_unit(truth)
            assert errors_mm.mean() < 1.0 and errors_mm.max() < 6.0, (row["image"], errors_mm.round(1))


def test_other_pictures_are_refused_and_hands_beside_them_kept(tmp_path: Path) -> None:
    """Smooth noise, text-like bars and, where there is one, a chest radiograph, beside one hand."""
    (tmp_path / "input").mkdir()
    write_hand_dataset(tmp_path / "input", 1, seed=3)
    noise = gaussian_filter(np.random.default_rng(0).random((400, 300)), 8)
    Image.fromarray(((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)).save(
        tmp_path / "input" / "noise.png"
    )
    bars = np.kron(np.random.default_rng(1).integers(0, 2, (20, 15)), np.ones((20, 20)))
    Image.fromarray((bars * 255).astype(np.uint8)).save(tmp_path / "input" / "bars.png")
    others = {"noise", "bars"}
    if "BUNDLES_DATA" in os.environ:
        shutil.copy(Path(os.environ["BUNDLES_DATA"]) / "xray" / "chest_pa.png", tmp_path / "input" / "chest.png")
        others.add("chest")
    options = ["--dataset_dir", str(tmp_path / "input"), "--output_dir", str(tmp_path / "output")]
    done = run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *options], BUNDLE
    )
    assert done.returncode == 1
    for name in others:
        assert f"{name}.png: shows no hand" in done.stdout
    assert {p.name.split("_")[0] for p in (tmp_path / "output").iterdir()} == {"hand"}
