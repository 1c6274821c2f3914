import csv
from pathlib import Path

import pytest

from shared.io.errors import CaseError
from shared.spine.dataset import read_cases
from shared.spine.verse_folder import main, verse_rows


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def bids(root: Path, split: str, stem: str, subject: str, mask: bool = True, centroids: bool = True) -> None:
    folder = root / f"dataset-verse20{split}"
    touch(folder / "rawdata" / subject / f"{stem}_ct.nii.gz")
    if mask:
        touch(folder / "derivatives" / subject / f"{stem}_seg-vert_msk.nii.gz")
    if centroids:
        touch(folder / "derivatives" / subject / f"{stem}_seg-subreg_ctd.json")
    touch(folder / "derivatives" / subject / f"{stem}_seg-vert_snp.png")


def test_bids_layout(tmp_path):
    bids(tmp_path, "training", "sub-verse004", "sub-verse004")
    bids(tmp_path, "training", "sub-gl003_dir-ax", "sub-gl003")
    bids(tmp_path, "validation", "sub-verse500_split-verse257", "sub-verse500", centroids=False)
    bids(tmp_path, "test", "sub-verse600", "sub-verse600", mask=False, centroids=False)  # not annotated
    line = main(str(tmp_path), str(tmp_path / "lists" / "cases.csv"))
    assert line.startswith("3 cases (2 train, 1 val)")
    cases = {case.name: case for case in read_cases(tmp_path / "lists" / "cases.csv")}
    assert set(cases) == {"sub-verse004", "sub-gl003_dir-ax", "sub-verse500_split-verse257"}
    case = cases["sub-gl003_dir-ax"]
    assert case.split == "train" and case.image.name == "sub-gl003_dir-ax_ct.nii.gz"
    assert case.mask.name.endswith("seg-vert_msk.nii.gz") and case.centroids.name.endswith("ctd.json")
    assert cases["sub-verse500_split-verse257"].centroids is None


def test_paths_are_relative_or_not(tmp_path):
    bids(tmp_path / "data", "training", "sub-verse004", "sub-verse004")
    for relative in (True, False):
        main(str(tmp_path / "data"), str(tmp_path / "cases.csv"), relative)
        with open(tmp_path / "cases.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        assert Path(row["image_path"]).is_absolute() != relative
        assert (tmp_path / row["image_path"]).exists()


def test_layout_of_the_challenges(tmp_path):
    for name in ("verse004.nii.gz", "verse004_seg.nii.gz", "verse004_ctd.json", "GL017.nii.gz", "GL017_seg.nii.gz"):
        touch(tmp_path / name)
    rows = {row["name"]: row for row in verse_rows(tmp_path)}
    assert set(rows) == {"verse004", "GL017"}
    assert rows["verse004"]["centroid_json_path"].endswith("verse004_ctd.json")
    assert rows["GL017"]["centroid_json_path"] == "" and rows["GL017"]["type"] == ""


def test_nothing_there(tmp_path):
    with pytest.raises(CaseError, match="no such folder"):
        verse_rows(tmp_path / "none")
    touch(tmp_path / "sub-a_ct.nii.gz")
    with pytest.raises(CaseError, match="holds no CT"):
        verse_rows(tmp_path)
