"""Organs of HaN-Seg: numbers of the challenge, sides and their exchange, labels of other data sets."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bundles.han_segmentation.scripts.organs import (
    NAMES,
    NUMBERS,
    OPENKBP_LABELS,
    OPENKBP_TO_HAN,
    ORGANS,
    PAIRS,
    SMALL_ORGANS,
    mirrored_numbers,
    organ_numbers,
    relabel,
)


def test_numbers_are_those_of_the_challenge():
    assert [organ.number for organ in ORGANS] == list(range(1, 31))
    # the challenge counts in the order of the names
    assert [organ.name for organ in ORGANS] == sorted(NUMBERS)
    known = {1: "A_Carotid_L", 4: "Bone_Mandible", 9: "Cochlea_R", 14: "Eye_PL", 20: "Glnd_Thyroid", 30: "SpinalCord"}
    assert {number: NAMES[number] for number in known} == known


def test_names_of_a_structure_set_are_unique_and_short():
    assert len(set(NAMES.values())) == 30
    for number, name in NAMES.items():
        assert re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)*", name) and len(name) <= 16  # the limit of TG-263
        if ORGANS[number - 1].side:
            assert re.search(rf"_[AP]?{ORGANS[number - 1].side}$", name)


def test_pairs_hold_left_and_right_of_one_organ():
    assert len(PAIRS) == 8
    for left, right in PAIRS:
        assert ORGANS[left - 1].side == "L" and ORGANS[right - 1].side == "R"
        assert ORGANS[left - 1].description == ORGANS[right - 1].description.replace("right", "left")
    paired = {number for pair in PAIRS for number in pair}
    assert all(organ.side is None for organ in ORGANS if organ.number not in paired)


def test_mirroring_twice_changes_nothing():
    table = mirrored_numbers()
    np.testing.assert_array_equal(table[table], np.arange(31))
    assert table[NUMBERS["Parotid_L"]] == NUMBERS["Parotid_R"] and table[0] == 0
    assert (table != np.arange(31)).sum() == 16


def test_openkbp_labels_become_han_numbers():
    labels = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], dtype=np.uint8)
    expected = ["Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Bone_Mandible"]
    mapped = relabel(labels, OPENKBP_TO_HAN)
    assert [NAMES[n] for n in mapped[mapped > 0]] == expected
    assert mapped[1, 1] == mapped[1, 2] == 0, "its oesophagus and larynx are other organs"
    for label, number in OPENKBP_TO_HAN.items():
        assert NAMES[number].endswith(OPENKBP_LABELS[label])


def test_small_organs_and_unknown_names():
    assert set(SMALL_ORGANS) == set(organ_numbers([organ.name for organ in ORGANS if organ.small]))
    assert len(SMALL_ORGANS) == 8
    with pytest.raises(KeyError):
        organ_numbers(["Parotid"])
