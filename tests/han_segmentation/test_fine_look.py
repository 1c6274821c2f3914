"""The second look: where it looks, what it decides about, that it finds what the first one missed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from bundles.han_segmentation.scripts.fine_look import (
    FineLookd,
    box_grid,
    expected_centres,
    load_fine_network,
    merge,
    typical_centres,
    without_islands,
)
from bundles.han_segmentation.scripts.laterality import label_centres
from shared.io.errors import CaseError
from tests.han_segmentation.heads import NAMES, NUMBERS, SMALL_ORGANS, TABLE, head

CHIASM, STEM = NUMBERS["OpticChiasm"], NUMBERS["Brainstem"]


class Bright(nn.Module):
    """Calls the optic chiasm what is bright in the first window, everything else background."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 31, *x.shape[2:])
        logits[:, 0] = 5.0
        logits[:, CHIASM] = 10.0 * (x[:, 0] > 0.5)
        return logits


@pytest.mark.parametrize("seed", [3, 4])
def test_large_organs_place_the_small_ones(seed: int) -> None:
    phantom = head(seed)
    truth = label_centres(phantom.labels, phantom.affine)
    large = {n: place for n, place in truth.items() if n not in SMALL_ORGANS}
    large[NUMBERS["Lips"]] = large[NUMBERS["Lips"]] + [0, 0, 150.0]  # a mistake of the first look
    places = expected_centres(large, TABLE)
    assert set(places) == set(SMALL_ORGANS)
    assert max(np.linalg.norm(places[n] - truth[n]) for n in SMALL_ORGANS) < 18
    near, wrong = CHIASM, NUMBERS["Pituitary"]
    again = expected_centres({**large, near: truth[near], wrong: truth[wrong] + [0, 80.0, 0]}, TABLE)
    assert np.allclose(again[near], truth[near]) and np.linalg.norm(again[wrong] - truth[wrong]) < 18
    assert expected_centres({STEM: truth[STEM]}, TABLE) == {}


def test_typical_places_name_every_organ_with_left_at_the_left() -> None:
    places = typical_centres(TABLE)
    assert set(places) == set(NAMES)
    assert places[NUMBERS["Parotid_L"]][0] < places[NUMBERS["Parotid_R"]][0]


def test_box_around_points() -> None:
    affine, size = box_grid([np.array([0, 0, 0.0]), np.array([30, 10, 0.0])], 10.0, 2.0)
    ends = affine[:3, 3] - 1, affine[:3, 3] + 2 * (np.array(size) - 1) + 1
    assert size == (25, 15, 10) and np.allclose(ends[0], -10) and np.allclose(ends[1], [40, 20, 10])


def test_the_second_look_decides_about_its_organs_alone() -> None:
    labels = np.zeros((6, 1, 1), np.uint8)
    labels[:, 0, 0] = [CHIASM, CHIASM, STEM, CHIASM, STEM, 0]
    fine = np.array([0, STEM, CHIASM, 0], np.uint8).reshape(4, 1, 1)
    merged = merge(labels, fine, (slice(1, 5), slice(None), slice(None)), [CHIASM])
    # outside of the box it is gone; inside, what was or becomes the organ follows, the rest stays
    assert merged[:, 0, 0].tolist() == [0, 0, STEM, CHIASM, STEM, 0]


def test_islands_go_and_pairs_stay() -> None:
    labels = np.zeros((20, 5, 5), np.uint8)
    labels[:4], labels[8:12] = 6, 6  # both sides of the buccal mucosa
    labels[16, 0, 0] = 6
    cleaned = without_islands(labels)
    assert cleaned[16, 0, 0] == 0 and (cleaned[:12] == labels[:12]).all()


@pytest.mark.parametrize("flip", [False, True])
def test_what_the_first_look_missed_is_found(flip: bool) -> None:
    phantom = head()
    affine, truth = phantom.affine, phantom.labels
    if flip:
        change = np.diag([-1.0, -1.0, 1.0, 1.0])
        change[:2, 3] = np.array(truth.shape[:2]) - 1
        affine, truth = affine @ change, truth[::-1, ::-1].copy()
    ct = np.where(truth == CHIASM, 240, -160).astype(np.int16)
    first = np.where(truth == CHIASM, 0, truth)
    volumes = [MetaTensor(torch.from_numpy(array)[None], affine=torch.as_tensor(affine)) for array in (ct, first)]
    look = FineLookd("pred", Bright(), SimpleInferer(), TABLE, spacing_mm=2.0)
    found = look({"original": volumes[0], "pred": volumes[1]})["pred"].as_tensor()[0].numpy()
    assert found.dtype == np.uint8
    both = ((found == CHIASM) & (truth == CHIASM)).sum()
    assert 2 * both / ((found == CHIASM).sum() + (truth == CHIASM).sum()) > 0.6
    large = ~np.isin(truth, SMALL_ORGANS) & (found != CHIASM)
    assert (found[large] == without_islands(first)[large]).all()
    alone = FineLookd("pred", None, SimpleInferer(), TABLE)({"original": volumes[0], "pred": volumes[1]})
    assert not (alone["pred"] == CHIASM).any()


def test_no_weights_are_no_second_look() -> None:
    assert load_fine_network(nn.Identity(), None) is None
    assert load_fine_network(nn.Identity(), "") is None
    with pytest.raises(CaseError, match="no such weights file"):
        load_fine_network(nn.Identity(), "missing.pt")
