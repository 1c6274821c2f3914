"""Left and right: exchanged sides are noticed in every orientation, mirroring exchanges labels and not sides."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from bundles.han_segmentation.scripts.han_reader import validity_mask
from bundles.han_segmentation.scripts.laterality import (
    PutSidesRightd,
    RandMirrord,
    left_right_axis,
    side_warnings,
    sides_put_right,
)
from bundles.han_segmentation.scripts.organs import NUMBERS, PAIRS, mirrored_numbers
from shared.io.itk_images import to_sitk
from tests.han_segmentation.heads import head

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def in_orientation(codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and affine (RAS) of the head with its axes as named."""
    image = sitk.DICOMOrient(to_sitk(head().labels, head().affine), codes)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, LPS @ affine


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
def test_exchanged_labels_are_noticed_in_any_orientation(codes):
    labels, affine = in_orientation(codes)
    assert side_warnings(labels, affine) == []
    assert len(side_warnings(mirrored_numbers()[labels], affine)) == len(PAIRS)
    flipped = np.flip(labels, left_right_axis(affine))
    assert len(side_warnings(flipped, affine)) == len(PAIRS), "a mirrored image with labels as they were"


def test_one_pair_and_a_single_organ_on_the_wrong_side():
    labels, affine = head().labels.copy(), head().affine
    left, right = NUMBERS["Parotid_L"], NUMBERS["Parotid_R"]
    labels[labels == left] = 99
    labels[labels == right] = left
    alone = labels.copy()
    alone[alone == 99] = 0
    assert side_warnings(alone, affine) == ["Parotid_L lies on the other side of the midline"]
    labels[labels == 99] = right
    (line,) = side_warnings(labels, affine)
    assert "Parotid_L" in line and "exchanged" in line


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
def test_organs_on_the_wrong_side_are_renamed(codes):
    truth, affine = in_orientation(codes)
    wrong = truth.copy()
    left, right = NUMBERS["A_Carotid_L"], NUMBERS["A_Carotid_R"]
    wrong[truth == left], wrong[truth == right] = right, left
    gland = NUMBERS["Glnd_Lacrimal_L"]
    wrong[truth == gland] = 0
    wrong[truth == NUMBERS["Glnd_Lacrimal_R"]] = gland
    item = {"pred": MetaTensor(torch.from_numpy(wrong[None]), affine=torch.from_numpy(affine))}
    result = PutSidesRightd("pred")(item)
    labels = result["pred"].numpy()[0]
    np.testing.assert_array_equal(labels, np.where(truth == gland, 0, truth))
    assert side_warnings(labels, affine) == []
    assert [note.split(" lay ")[0] for note in result["side_notes"]] == [
        "A_Carotid_L and A_Carotid_R",
        "Glnd_Lacrimal_L",
    ]
    assert side_warnings(item["pred"].numpy()[0], affine) != [], "the input stays as it was"


def test_a_pair_whose_organs_are_level_with_each_other_is_left_alone():
    """Specks of one voxel each, in line with each other: exchanging their names would put nothing right."""
    labels, affine = head().labels.copy(), head().affine
    left, right = NUMBERS["A_Carotid_L"], NUMBERS["A_Carotid_R"]
    place = np.argwhere(labels == left)[0]
    labels[np.isin(labels, (left, right))] = 0
    labels[tuple(place)], labels[tuple(place + np.eye(3, dtype=int)[(left_right_axis(affine) + 1) % 3])] = left, right
    same, notes = sides_put_right(labels, affine)
    assert notes == [] and side_warnings(same, affine) == []


def test_a_mirrored_image_is_not_put_right():
    truth, affine = in_orientation("RAS")
    flipped = np.flip(truth, left_right_axis(affine))
    labels, notes = sides_put_right(flipped, affine)
    assert notes == [] and np.array_equal(labels, flipped) and len(side_warnings(labels, affine)) == len(PAIRS)
    labels, notes = sides_put_right(truth, affine)
    assert notes == [] and np.array_equal(labels, truth)


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
def test_mirror_makes_another_patient_whose_left_is_left(codes):
    labels, affine = in_orientation(codes)
    data: dict[Hashable, Any] = {
        "image": MetaTensor(torch.from_numpy(labels[None].astype(np.float32)), affine=torch.from_numpy(affine)),
        "label": MetaTensor(torch.from_numpy(labels[None].copy()), affine=torch.from_numpy(affine)),
        "valid": torch.from_numpy(validity_mask((NUMBERS["Parotid_L"], NUMBERS["Brainstem"]))),
    }
    mirror = RandMirrord(("image", "label"), label_keys="label", valid_key="valid", prob=1.0)
    result = mirror(data)
    mirrored = result["label"].numpy()[0]
    assert side_warnings(mirrored, affine) == [] and not np.array_equal(mirrored, labels)
    np.testing.assert_array_equal(mirrored, mirrored_numbers()[result["image"].numpy()[0].astype(int)])
    assert np.flatnonzero(result["valid"]).tolist() == sorted([NUMBERS["Parotid_R"], NUMBERS["Brainstem"]])
    twice = mirror(result)
    np.testing.assert_array_equal(twice["label"].numpy()[0], labels)
    np.testing.assert_array_equal(result["label"].affine, affine)
    assert torch.equal(data["label"].as_tensor()[0], torch.from_numpy(labels)), "the input stays as it was"


def test_mirror_by_chance_is_repeatable():
    labels = torch.from_numpy(head().labels[None].copy())
    mirror = RandMirrord("label", label_keys="label", prob=0.5)
    drawn = []
    for _ in range(2):
        mirror.set_random_state(seed=4)
        drawn.append([bool(torch.equal(mirror({"label": labels})["label"], labels)) for _ in range(8)])
    assert drawn[0] == drawn[1] and set(drawn[0]) == {True, False}
