"""Which cases a folder holds: nothing is left out without a word, nothing of our own is taken as input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bundles.han_segmentation.scripts.cases import find_han_cases
from bundles.han_segmentation.scripts.organs import table_of
from tests.han_segmentation.heads import TABLE, han_seg_folder, nifti_folder


def names(root: Path) -> dict[str, str]:
    return {case["case"]: Path(case["ct"]).name for case in find_han_cases(root, TABLE)}


def test_a_volume_beside_case_folders_is_a_case_of_its_own(tmp_path: Path) -> None:
    """Until now ``p2/scan.nii.gz`` was left out without a word as soon as there was a ``p1/ct.nii.gz``."""
    nifti_folder(tmp_path, "p1")
    for name in ("p2/scan.nii.gz", "p3/scan.nii.gz", "loose.NII.GZ"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "p1" / "ct.nii.gz", tmp_path / name)
    found = names(tmp_path)
    assert found == {
        "p1": "ct.nii.gz",
        "p2_scan": "scan.nii.gz",
        "p3_scan": "scan.nii.gz",
        "loose": "loose.NII.GZ",
    }


def test_two_patients_of_one_name_get_their_folders(tmp_path: Path) -> None:
    for part in ("first", "second"):
        nifti_folder(tmp_path / part)
        han_seg_folder(tmp_path / part)
    found = names(tmp_path)
    assert sorted(found) == ["first_patient", "first_set_1_case_01", "second_patient", "second_set_1_case_01"]


def test_results_of_an_earlier_run_are_no_cases(tmp_path: Path) -> None:
    folder = tmp_path / "p1"
    nifti_folder(tmp_path, "p1")
    for name in ("p1_segmentation.nii.gz", "p1_attention.nii.gz"):
        shutil.copy(folder / "labels.nii.gz", tmp_path / name)
    (tmp_path / "p1_segmentation.json").write_text('{"case": "p1"}')
    assert names(tmp_path) == {"p1": "ct.nii.gz"}


@pytest.mark.parametrize("left", ["mr_t1.nii.gz", "labels.nii.gz"])
def test_a_folder_without_its_ct_is_wrong(tmp_path: Path, left: str) -> None:
    nifti_folder(tmp_path, "whole")
    folder = nifti_folder(tmp_path, "without")
    for path in list(folder.iterdir()):
        if path.name != left:
            path.unlink()
    whole, without = find_han_cases(tmp_path, TABLE)
    assert "problem" not in whole and without["problem"][1] == f"holds {left}, but no CT to go with it"


def test_contours_of_other_organs_are_refused_or_ignored(tmp_path: Path) -> None:
    han_seg_folder(tmp_path)
    document = {"windows_hu": [[0, 1]], "organs": [{"name": "Brainstem"}, {"name": "Lips"}, {"name": "SpinalCord"}]}
    (refused,) = find_han_cases(tmp_path, table_of(document))
    assert "names no organ of the table" in json.dumps(refused["problem"])
    (kept,) = find_han_cases(tmp_path, table_of({**document, "other_contours": "ignore"}))
    assert set(kept["organs"]) <= {"Brainstem", "Lips", "SpinalCord"} and kept["organs"]
