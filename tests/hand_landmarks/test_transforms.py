"""Standardising a radiograph: a known pixel is found again, the grey values become standard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged
from PIL import Image

from bundles.hand_landmarks.scripts.phantoms.phantom import make_hand, to_uint8
from bundles.hand_landmarks.scripts.points import to_file_indices
from bundles.hand_landmarks.scripts.transforms import (
    StandardizeHandd,
    constant_margins,
    fit_to_canvas,
    hand_outline,
    is_inverted,
    match_histogram,
    reference_quantiles,
)
from shared.io.errors import CaseError
from shared.xray.reader import XrayReader

CANVAS = (192, 256)


@pytest.fixture(scope="module")
def hands():
    return [make_hand(seed, size=300) for seed in (13, 22, 27, 40)]  # with and without white frames


def standardize(image: np.ndarray, points: np.ndarray | None = None, **kwargs) -> dict:
    meta = {"original_affine": torch.eye(4, dtype=torch.float64), "filename_or_obj": "hand.png"}
    data = {"image": MetaTensor(torch.as_tensor(image, dtype=torch.float32)[None], affine=torch.eye(4), meta=meta)}
    if points is not None:
        data["landmarks"] = points
    return StandardizeHandd(canvas=CANVAS, **kwargs)(data)


def test_landmarks_go_to_the_canvas_and_back(hands):
    for hand in hands:
        data = standardize(hand.image, hand.landmarks)
        assert tuple(data["image"].shape) == (1, *CANVAS)
        assert (to_file_indices(data["landmarks"], data["image"]) - torch.as_tensor(hand.landmarks)).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(300, 200), (90, 120), (1000, 700), (431, 997)])
def test_a_bright_spot_is_where_the_matrix_says(size):
    """A blob in the image and its place in the canvas, for enlarging, shrinking and padding along either axis."""
    centre = np.array(size) * [0.37, 0.61]
    x, y = np.ogrid[: size[0], : size[1]]
    radius = max(size) / 25
    image = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * radius**2))
    canvas, matrix = fit_to_canvas(image, CANVAS)
    weights = canvas / canvas.sum()
    found = [(weights.sum(axis=1 - axis) * np.arange(CANVAS[axis])).sum() for axis in range(2)]
    expected = np.linalg.solve(matrix, [*centre, 1.0])[:2]
    assert np.abs(found - expected).max() < 0.05
    assert matrix[0, 0] == matrix[1, 1], "isotropic"


def test_margins_are_trimmed_and_counted(hands):
    hand = hands[0]
    plain = standardize(hand.image, hand.landmarks)
    page = np.full((hand.image.shape[0] + 70, hand.image.shape[1] + 90), 1.0, dtype=np.float32)
    page[50 : 50 + hand.image.shape[0], 20 : 20 + hand.image.shape[1]] = hand.image
    data = standardize(page, hand.landmarks + [50, 20])
    assert (data["landmarks"] - plain["landmarks"]).abs().max() < 1.0
    assert (
        to_file_indices(data["landmarks"], data["image"]) - torch.as_tensor(hand.landmarks + [50, 20])
    ).abs().max() < 1e-3


def test_a_constant_row_inside_the_picture_is_no_margin():
    image = np.random.default_rng(0).random((40, 50))
    image[:5] = 0
    image[20] = 0
    assert constant_margins(image) == (slice(5, 40), slice(0, 50))


def test_polarity_is_recognised(hands):
    for hand in hands:
        upright, turned = standardize(hand.image), standardize(1 - hand.image)
        assert not upright["image"].meta["inverted"] and turned["image"].meta["inverted"]
        assert (upright["image"] - turned["image"]).abs().mean() < 0.01
        assert is_inverted(hand.image) is False and is_inverted(1 - hand.image) is True
        assert standardize(hand.image, invert=True)["image"].meta["inverted"]


def test_exposure_hardly_matters(hands):
    image = hands[1].image
    reference = standardize(image)["image"]
    for exposed in (image**0.8, image**1.25, 500 + 3000 * image):
        assert (standardize(exposed)["image"] - reference).abs().mean() < 0.04


def test_the_histogram_inside_the_outline_is_the_reference(hands):
    image = hands[2].image
    outline = hand_outline(image)
    matched = match_histogram(image, outline, reference_quantiles())
    quantiles = np.quantile(matched[outline], np.linspace(0, 1, 65))
    assert np.abs(quantiles - reference_quantiles()).max() < 0.02
    order = np.argsort(image, axis=None)
    assert (np.diff(matched.ravel()[order]) >= -1e-6).all(), "the map is monotone"


def test_outline_covers_the_landmarks(hands):
    for hand in hands:
        inside = [hand_outline(hand.image)[tuple(np.round(p).astype(int))] for p in hand.landmarks[6:34]]
        assert np.mean(inside) > 0.8


def test_the_chain_reads_files(tmp_path, hands):
    hand = hands[3]
    Image.fromarray(to_uint8(hand.image).T).save(tmp_path / "hand.png")
    chain = Compose(
        [LoadImaged("image", reader=XrayReader, ensure_channel_first=True), StandardizeHandd(canvas=CANVAS)]
    )
    data = chain({"image": str(tmp_path / "hand.png"), "landmarks": hand.landmarks})
    assert (to_file_indices(data["landmarks"], data["image"]) - torch.as_tensor(hand.landmarks)).abs().max() < 1e-3
    assert data["image"].min() >= 0 and data["image"].max() <= 1


def test_a_picture_that_is_all_margin_is_refused():
    image = np.zeros((100, 120), dtype=np.float32)
    image[50:55, 60:64] = 1
    with pytest.raises(CaseError, match="no content"):
        standardize(image)
