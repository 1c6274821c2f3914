"""The procedural hand radiographs: landmarks where the anatomy is, reproducible, written as a data set."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from bundles.hand_landmarks.scripts.phantoms.phantom import HandPhantom, make_hand, to_uint8, write_hand_dataset
from bundles.hand_landmarks.scripts.phantoms.projection import (
    BoneCanvas,
    TubularBone,
    add_flat_bone,
    add_tubular_bone,
    capsule_chain_thickness,
)
from bundles.hand_landmarks.scripts.phantoms.shape import (
    HAND_FINGERS,
    LANDMARKS,
    METACARPAL_BASES,
    fingers_are_apart,
    random_shape,
)

SIZE = 256
SEEDS = range(12)


@pytest.fixture(scope="module")
def hands() -> list[HandPhantom]:
    return [make_hand(seed, SIZE) for seed in SEEDS]


def sample(phantom: HandPhantom, points: np.ndarray) -> np.ndarray:
    """Brightness at (N, 2) pixels."""
    return map_coordinates(phantom.image, points.T, order=1, mode="nearest")


def test_fingers_are_those_of_the_landmark_set():
    for finger, chain in HAND_FINGERS.items():
        assert all(LANDMARKS.names[index].startswith(finger) for index in chain)
        assert all((a, b) in LANDMARKS.bones for a, b in zip(chain[:-1], chain[1:], strict=True))
        assert (METACARPAL_BASES[finger], chain[0]) in LANDMARKS.bones


def test_image_form_and_landmarks_inside(hands):
    for phantom in hands:
        assert phantom.image.dtype == np.float32 and max(phantom.image.shape) == SIZE
        assert phantom.image.min() >= 0 and phantom.image.max() <= 1 and phantom.image.std() > 0.05
        assert phantom.landmarks.shape == (37, 2)
        assert np.all(phantom.landmarks >= 0) and np.all(phantom.landmarks <= np.array(phantom.image.shape) - 1)


def test_same_seed_same_hand_other_seed_other_hand():
    first, again, other = make_hand(3, SIZE), make_hand(3, SIZE), make_hand(4, SIZE)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert not np.allclose(first.landmarks, other.landmarks, atol=1)


def test_size_changes_sampling_only():
    small, large = make_hand(5, SIZE), make_hand(5, 2 * SIZE)
    scale = small.mm_per_pixel / large.mm_per_pixel
    np.testing.assert_allclose(small.landmarks * scale, large.landmarks, atol=1e-6)
    assert scale == pytest.approx((2 * SIZE - 1) / (SIZE - 1))


def test_wrist_distance_is_the_length_standard(hands):
    for phantom in hands:
        first, second = LANDMARKS.size_between
        wrist = np.linalg.norm(phantom.landmarks[first] - phantom.landmarks[second])
        assert wrist * phantom.mm_per_pixel == pytest.approx(50)


@pytest.mark.parametrize("side", ["left", "right"])
def test_thumb_side(side):
    for seed in SEEDS:
        phantom = make_hand(seed, 128, side)
        assert phantom.side == side
        tips = [phantom.landmarks[chain[-1], 0] for chain in HAND_FINGERS.values()]
        assert (tips[0] > tips[-1]) == (side == "left")  # thumb right of the little finger in a left hand


def test_right_hand_mirrors_the_left():
    left, right = make_hand(7, 128, "left"), make_hand(7, 128, "right")
    assert left.image.shape == right.image.shape
    mirrored = np.column_stack([left.image.shape[0] - 1 - left.landmarks[:, 0], left.landmarks[:, 1]])
    np.testing.assert_allclose(right.landmarks, mirrored)


def test_random_side_draws_both():
    assert {make_hand(seed, 64, "random").side for seed in range(10)} == {"left", "right"}


def test_fingertip_separates_bone_from_soft_tissue_from_background():
    """Along each finger the last bone ends at the tip landmark and the skin ends a few mm further."""
    steps = {"bone": [], "skin": []}
    for seed in SEEDS:
        phantom = make_hand(seed, 512)
        for chain in HAND_FINGERS.values():
            joint, tip = phantom.landmarks[list(chain[-2:])]
            along = (tip - joint) / np.linalg.norm(tip - joint) / phantom.mm_per_pixel
            inside, pad, outside = (tip + mm * along for mm in (-2.0, 2.0, 9.0))
            if np.any(outside < 0) or np.any(outside > np.array(phantom.image.shape) - 1):
                continue
            values = sample(phantom, np.array([inside, pad, outside]))
            steps["bone"].append(values[0] - values[1])
            steps["skin"].append(values[1] - values[2])
    assert np.quantile(steps["bone"], 0.1) > 0.015
    assert np.median(steps["skin"]) > 0.03


def test_joint_gap_lies_beyond_the_joint_landmark():
    """The darkest spot around a finger joint is the gap, 0 to 2.5 mm to the tip side of the landmark."""
    offsets = []
    for seed in SEEDS:
        phantom = make_hand(seed, 768)
        for chain in list(HAND_FINGERS.values())[1:]:
            for joint, following in zip(chain[1:-1], chain[2:], strict=True):
                start, end = phantom.landmarks[[joint, following]]
                along = (end - start) / np.linalg.norm(end - start) / phantom.mm_per_pixel
                mm = np.arange(-3.0, 3.0, 0.2)
                profile = sample(phantom, start + mm[:, None] * along)
                offsets.append(mm[np.argmin(profile)])
    assert 0.0 <= np.median(offsets) <= 1.5
    assert np.mean((np.array(offsets) > -0.6) & (np.array(offsets) < 2.5)) > 0.85


def test_shaft_is_a_hollow_tube():
    """Projected bone: zero outside, bright cortex near the edge, less in the medulla, end exactly at the end point."""
    canvas = BoneCanvas(np.zeros((80, 160)), np.zeros((80, 160)), scale=4.0)
    widths = (5.0, 5.0, 5.0)
    start, end = np.array([40.0, 140.0]), np.array([40.0, 20.0])
    add_tubular_bone(canvas, TubularBone(start, end, (0.0, 0.5, 1.0), widths, cortex_mm=1.5))
    across = canvas.bone[:, 80]
    assert across[40] > 0 and across[[19, 61]].max() == 0  # 5 mm at 4 pixels per mm on both sides
    assert across[[24, 56]].min() > 1.2 * across[40]
    np.testing.assert_allclose(across[1:40], across[79:40:-1], atol=1e-9)
    along = canvas.bone[40]
    assert along[19] == 0 and along[141] == 0 and along[22] > 0 and along[138] > 0


def test_flat_bone_stays_in_its_outline_and_bones_add_up():
    canvas = BoneCanvas(np.zeros((60, 60)), np.zeros((60, 60)), scale=1.0)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = 30 + 15 * np.column_stack([np.cos(angles), np.sin(angles)])
    add_flat_bone(canvas, circle, radius_mm=8.0)
    radius = np.hypot(*(np.indices((60, 60)) - 30))
    assert canvas.bone[radius > 15.5].max() == 0 and canvas.bone[radius < 14].min() > 0
    once = canvas.bone.copy()
    add_flat_bone(canvas, circle[::-1], radius_mm=8.0)  # the sense of the outline does not matter
    inside = radius < 13  # the edge itself is steep
    np.testing.assert_allclose(canvas.bone[inside], 2 * once[inside], atol=0.2)


def test_bones_partly_or_wholly_outside_are_clipped():
    canvas = BoneCanvas(np.zeros((30, 30)), np.zeros((30, 30)), scale=1.0)
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    add_flat_bone(canvas, square + 100, radius_mm=3.0)
    assert canvas.bone.max() == 0
    add_flat_bone(canvas, square - 5, radius_mm=3.0)
    assert canvas.bone[0, 0] > 0 and canvas.bone[10:].max() == 0


def test_limb_chord_is_that_of_a_cylinder():
    thickness = capsule_chain_thickness((41, 60), np.array([[20.0, 5.0], [20.0, 50.0]]), np.array([10.0, 10.0]))
    assert thickness[20, 30] == pytest.approx(20.0)
    assert thickness[26, 30] == pytest.approx(16.0)
    assert thickness[31, 30] == 0


def test_random_shapes_keep_fingers_apart_and_vary():
    rng = np.random.default_rng(1)
    shapes = np.stack([random_shape(rng) for _ in range(50)])
    assert all(fingers_are_apart(shape) for shape in shapes)
    assert 2 < np.linalg.norm(shapes.std(axis=0), axis=1).mean() < 15


@pytest.mark.parametrize("split_column", [True, False])
def test_data_set_is_written_and_read_back(tmp_path, split_column):
    table = write_hand_dataset(tmp_path / "data", 5, seed=20, size=128, split_column=split_column)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    first = ["image", "split", "x0", "y0"] if split_column else ["image", "x0", "y0"]
    assert list(rows[0])[: len(first)] == first and list(rows[0])[-2:] == ["x36", "y36"]
    if split_column:
        assert [row["split"] for row in rows] == ["train"] * 4 + ["validation"]
    for index, row in enumerate(rows):
        phantom = make_hand(20 + index, 128)
        pixels = np.asarray(Image.open(tmp_path / "data" / f"{row['image']}.png"))
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels.T, to_uint8(phantom.image))  # columns of the file are x
        points = [[float(row[f"x{i}"]), float(row[f"y{i}"])] for i in range(37)]
        np.testing.assert_allclose(points, phantom.landmarks, atol=0.0051)


def test_data_set_depends_on_seed_plus_index_only(tmp_path):
    write_hand_dataset(tmp_path / "a", 2, seed=1, size=64)
    write_hand_dataset(tmp_path / "b", 1, seed=2, size=64)
    assert (tmp_path / "a" / "hand_0002.png").read_bytes() == (tmp_path / "b" / "hand_0002.png").read_bytes()


def test_command_line(tmp_path):
    command = [sys.executable, "-m", "scripts.phantoms", "--output_dir", str(tmp_path / "demo")]
    command += ["--count", "1", "--size", "64", "--image_format", "jpg"]
    bundle = Path(__file__).resolve().parents[2] / "bundles" / "hand_landmarks"
    subprocess.run(command, cwd=bundle, check=True, capture_output=True)
    assert Image.open(tmp_path / "demo" / "hand_0000.jpg").mode == "L"
    assert (tmp_path / "demo" / "landmarks.csv").exists()
