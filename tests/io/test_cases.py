"""Finding the cases of a data set and naming them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.io.cases import find_cases
from shared.io.errors import CaseError


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


DICOM = b"\0" * 128 + b"DICM"


def test_xrays_of_a_folder_are_found_by_suffix_or_content(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.nii.gz", "d.dcm", "landmarks.csv", "notes.txt", ".hidden.png", "out/preview.png"):
        touch(tmp_path / name)
    touch(tmp_path / "IM0001", DICOM)
    found = find_cases(tmp_path, "xray")
    assert [case["case"] for case in found] == ["IM0001", "a", "b", "c", "d"]
    assert found[1]["image"] == str(tmp_path / "a.jpg")


def test_sub_folders_are_searched_where_a_folder_holds_no_image(tmp_path):
    for name in ("train/a.png", "validation/a.png", "validation/b.png", "landmarks.csv"):
        touch(tmp_path / name)
    assert [case["case"] for case in find_cases(tmp_path)] == ["train_a", "validation_a", "b"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["p1/ct.mha", "p2/ct.mha"], ["p1_ct", "p2_ct"]),
        (["p1.a.nii.gz", "p1.b.NII.GZ"], ["p1.a", "p1.b"]),
        (["a b.nii", "Müller.mha", "胸部.NRRD"], ["a b", "Müller", "胸部"]),
        (["a.nii.gz", "a.mha", "A.nrrd"], ["A_nrrd", "a_mha", "a_nii_gz"]),
    ],
)
def test_names_keep_dots_blanks_and_letters(tmp_path, files, names):
    for name in files:
        touch(tmp_path / name)
    assert sorted(case["case"] for case in find_cases(tmp_path, "volume")) == sorted(names)


def test_case_names_are_unique(tmp_path):
    for name in ("a.png", "a.jpg", "a_png.png", "b.nii.gz"):
        touch(tmp_path / name)
    names = [case["case"] for case in find_cases(tmp_path)]
    assert len(set(names)) == 4 and "b" in names


def test_one_file_is_one_case(tmp_path):
    path = touch(tmp_path / "x.y.nii.gz")
    assert find_cases(str(path), "volume") == [{"image": str(path), "case": "x.y"}]


@pytest.mark.parametrize("content", [[], ["readme.txt"]])
def test_an_empty_folder_is_refused(tmp_path, content):
    for name in content:
        touch(tmp_path / name)
    with pytest.raises(CaseError, match="holds no radiograph; give --dataset_dir"):
        find_cases(tmp_path)


def test_a_missing_folder_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(CaseError, match="no such file or folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(CaseError, match="holds no volume"):
        find_cases(touch(tmp_path / "a.png"), "volume")
