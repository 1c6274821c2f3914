"""The table of organs as data: numbers of the challenge, sides and their exchange, other tables, wrong ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bundles.han_segmentation.scripts.organs import read_organs, relabel, table_of
from bundles.han_segmentation.scripts.phantoms import names
from shared.io.errors import CaseError
from tests.han_segmentation.heads import BUNDLE, NAMES, NUMBERS, PAIRS, SMALL_ORGANS, TABLE

PATIENT_ORGANS = ("Bone_Mandible", "Brainstem", "Parotid_L", "Parotid_R", "SpinalCord")


def test_numbers_are_those_of_the_challenge() -> None:
    assert [organ.number for organ in TABLE.organs] == list(range(1, 31))
    # the challenge counts in the order of the names
    assert [organ.name for organ in TABLE.organs] == sorted(NUMBERS)
    known = {1: "A_Carotid_L", 4: "Bone_Mandible", 9: "Cochlea_R", 14: "Eye_PL", 20: "Glnd_Thyroid", 30: "SpinalCord"}
    assert {number: NAMES[number] for number in known} == known
    assert names.NAMES == NAMES, "phantoms show them all"


def test_names_of_a_structure_set_are_unique_and_short() -> None:
    assert len({organ.tg263 for organ in TABLE.organs}) == 30
    for organ in TABLE.organs:
        assert re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)*", organ.tg263) and len(organ.tg263) <= 16  # the limit of TG-263


def test_pairs_hold_left_and_right_of_one_organ() -> None:
    assert len(PAIRS) == 8
    for left, right in PAIRS:
        assert NAMES[left].endswith("L") and NAMES[right] == NAMES[left][:-1] + "R"
        assert TABLE.organ(left).description == TABLE.organ(right).description.replace("right", "left")
        assert TABLE.organ(left).volume_ml == TABLE.organ(right).volume_ml
    assert {NAMES[n][-1] for n in TABLE.midline()} & {"L", "R"} == set()


def test_what_is_known_of_each_organ() -> None:
    assert TABLE.from_patients == PATIENT_ORGANS
    assert TABLE.shown("patients") == tuple(NUMBERS[name] for name in PATIENT_ORGANS)
    assert TABLE.shown("all") == tuple(range(1, 31)) and len(SMALL_ORGANS) == 8
    with pytest.raises(CaseError, match="--organs: is 'some'"):
        TABLE.shown("some")
    with pytest.raises(CaseError, match="--crop_organs: names no organ .Nose.; known are A_Carotid_L"):
        TABLE.numbers_of(["Parotid_L", "Nose"], "--crop_organs")


def test_mirroring_twice_changes_nothing() -> None:
    table = TABLE.mirrored_numbers()
    np.testing.assert_array_equal(table[table], np.arange(31))
    assert table[NUMBERS["Parotid_L"]] == NUMBERS["Parotid_R"] and table[0] == 0
    assert (table != np.arange(31)).sum() == 16


def test_openkbp_labels_become_numbers_of_the_table() -> None:
    labels = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], dtype=np.uint8)
    mapped = relabel(labels, TABLE.label_files["oar"])
    expected = ["Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Bone_Mandible"]
    assert [NAMES[n] for n in mapped[mapped > 0]] == expected
    assert mapped[1, 1] == mapped[1, 2] == 0, "its oesophagus and larynx are other organs"


def test_a_table_of_names_alone_is_enough() -> None:
    table = table_of({"windows_hu": [[-100, 200]], "organs": [{"name": "Heart"}, {"name": "Lung"}]})
    assert table.names == {1: "Heart", 2: "Lung"} and table.pairs == () and table.needed == () == table.small
    assert table.shown("patients") == (1, 2) and table.organ(2).tg263 == "Lung"
    assert table.mirrored_numbers().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pairs": [["Parotid_L", "Nose"]]}, "lacks or does not know 'Nose'"),
        ({"organs": [{"name": "A", "number": 3}]}, "has the number 3, in its place is 1"),
        ({"organs": [{"name": "A"}, {"name": "A"}]}, "each its own"),
        ({"organs": [{"name": "A", "learned_from": "books"}]}, "learned from 'books'"),
        ({"other_contours": "guess"}, "neither refuse nor ignore"),
        ({"windows_hu": [1, 2]}, "describes no organs"),
        ({"organs": []}, "need names"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path: Path, change: dict, says: str) -> None:
    document = json.loads((BUNDLE / "configs" / "organs.json").read_text())
    if "organs" in change:
        document = {"windows_hu": document["windows_hu"]}
    (tmp_path / "mine.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(CaseError, match="mine.json") as error:
        read_organs(tmp_path / "mine.json")
    assert says in str(error.value)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="--organs_file"):
        read_organs(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("[1")
    with pytest.raises(CaseError, match="describes no organs"):
        read_organs(tmp_path / "broken.json")
