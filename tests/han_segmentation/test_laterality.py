"""Left and right: exchanged sides are noticed in every orientation, and put right."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from bundles.han_segmentation.scripts.laterality import (
    PutSidesRightd,
    left_right_axis,
    renaming_note,
    side_warnings,
    sides_put_right,
)
from shared.io.itk_images import to_sitk
from tests.han_segmentation.heads import NUMBERS, PAIRS, TABLE, head

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
    assert side_warnings(labels, affine, TABLE) == []
    assert len(side_warnings(TABLE.mirrored_numbers()[labels], affine, TABLE)) == len(PAIRS)
    flipped = np.flip(labels, left_right_axis(affine))
    assert len(side_warnings(flipped, affine, TABLE)) == len(PAIRS), "a mirrored image with labels as they were"


def test_one_pair_and_a_single_organ_on_the_wrong_side():
    labels, affine = head().labels.copy(), head().affine
    left, right = NUMBERS["Parotid_L"], NUMBERS["Parotid_R"]
    labels[labels == left] = 99
    labels[labels == right] = left
    alone = labels.copy()
    alone[alone == 99] = 0
    assert side_warnings(alone, affine, TABLE) == ["Parotid_L lies on the other side of the midline"]
    labels[labels == 99] = right
    (line,) = side_warnings(labels, affine, TABLE)
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
    result = PutSidesRightd("pred", TABLE)(item)
    labels = result["pred"].numpy()[0]
    np.testing.assert_array_equal(labels, np.where(truth == gland, 0, truth))
    assert side_warnings(labels, affine, TABLE) == []
    assert result["renamed_sides"] == [(left, right), (gland,)]
    assert renaming_note((left, right), TABLE).startswith("A_Carotid_L and A_Carotid_R lay on the wrong side")
    assert side_warnings(item["pred"].numpy()[0], affine, TABLE) != [], "the input stays as it was"


def test_a_pair_whose_organs_are_level_with_each_other_is_left_alone():
    """Specks of one voxel each, in line with each other: exchanging their names would put nothing right."""
    labels, affine = head().labels.copy(), head().affine
    left, right = NUMBERS["A_Carotid_L"], NUMBERS["A_Carotid_R"]
    place = np.argwhere(labels == left)[0]
    labels[np.isin(labels, (left, right))] = 0
    labels[tuple(place)], labels[tuple(place + np.eye(3, dtype=int)[(left_right_axis(affine) + 1) % 3])] = left, right
    same, notes = sides_put_right(labels, affine, TABLE)
    assert notes == [] and side_warnings(same, affine, TABLE) == []


def test_a_mirrored_image_is_not_put_right():
    truth, affine = in_orientation("RAS")
    flipped = np.flip(truth, left_right_axis(affine))
    labels, notes = sides_put_right(flipped, affine, TABLE)
    assert notes == [] and np.array_equal(labels, flipped) and len(side_warnings(labels, affine, TABLE)) == len(PAIRS)
    labels, notes = sides_put_right(truth, affine, TABLE)
    assert notes == [] and np.array_equal(labels, truth)
