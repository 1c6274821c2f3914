"""The table of cases, folds, and preparation that notices changes."""

import csv
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared.io.errors import CaseError
from shared.spine.dataset import (
    CHANNELS,
    COLUMNS,
    FAR_MM,
    PrepareSpine,
    SpineCase,
    read_cases,
    spine_datalist,
    split_cases,
)

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2.0, 0, -30], [0, 0, 2.0, 10], [0, 0, 0, 1]])
CENTRES = {20: (10.0, 12.0, 20.0), 21: (10.0, 12.0, 8.0)}  # label to voxel


def write_case(folder: Path, name: str, centroids: bool = True) -> dict[str, str]:
    image = np.random.default_rng(0).normal(0, 50, (20, 24, 30)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    for label, (x, y, z) in CENTRES.items():
        mask[int(x) - 4 : int(x) + 5, int(y) - 4 : int(y) + 5, int(z) - 4 : int(z) + 5] = label
    nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}_ct.nii.gz")
    nib.save(nib.Nifti1Image(mask, AFFINE), folder / f"{name}_seg.nii.gz")
    entries: list[dict] = [{"direction": ["L", "A", "S"]}]
    entries += [{"label": label, "X": x, "Y": y, "Z": z} for label, (x, y, z) in CENTRES.items()]
    (folder / f"{name}_ctd.json").write_text(json.dumps(entries))
    paths = [f"{name}_ct.nii.gz", f"{name}_seg.nii.gz", f"{name}_ctd.json" if centroids else ""]
    return dict(zip(COLUMNS, [name, "", *paths], strict=True))


def write_table(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "cases.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def made_up(count: int, split: str = "", scans: int = 1) -> list[SpineCase]:
    names = [f"sub-{i:02d}_scan{j}" for i in range(count) for j in range(scans)]
    return [SpineCase(name, split, Path(name), Path(name), None) for name in names]


def test_folds_cover_every_case_once_and_keep_patients_together() -> None:
    cases = made_up(7, scans=2)
    held = [split_cases(cases, "val", fold, 3) for fold in range(3)]
    assert sorted(case.name for part in held for case in part) == sorted(case.name for case in cases)
    for fold in range(3):
        train = split_cases(cases, "train", fold, 3)
        assert {c.name[:6] for c in train}.isdisjoint({c.name[:6] for c in held[fold]})
        assert len(train) + len(held[fold]) == len(cases)


def test_a_fixed_split_wins() -> None:
    cases = made_up(4, "train") + [SpineCase("one", "val", Path("x"), Path("x"), None)]
    assert [case.name for case in split_cases(cases, "val", 2, 3)] == ["one"]
    assert len(split_cases(cases, "train", 2, 3)) == 4


@pytest.mark.parametrize(("fold", "folds"), [(5, 5), (-1, 5), (0, 9), (0, 1)])
def test_impossible_folds_are_refused(fold: int, folds: int) -> None:
    with pytest.raises(CaseError):
        split_cases(made_up(8), "train", fold, folds)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_path": "none.nii.gz"}, "not there"),
        ({"image_path": ""}, "no image"),
        ({"mask_path": "", "centroid_json_path": ""}, "neither mask nor centroids"),
    ],
)
def test_broken_rows_are_refused(tmp_path: Path, change: dict[str, str], says: str) -> None:
    table = write_table(tmp_path, [{**write_case(tmp_path, "a"), **change}])
    with pytest.raises(CaseError, match=says):
        read_cases(table)


def test_doubled_names_and_missing_tables_are_refused(tmp_path: Path) -> None:
    row = write_case(tmp_path, "a")
    with pytest.raises(CaseError, match="twice"):
        read_cases(write_table(tmp_path, [row, row]))
    with pytest.raises(CaseError, match="no such table"):
        read_cases(tmp_path / "none.csv")


@pytest.mark.parametrize("centroids", [True, False], ids=["file", "derived"])
def test_centres_are_in_world_millimetres(tmp_path: Path, centroids: bool) -> None:
    table = write_table(tmp_path, [write_case(tmp_path, "a", centroids)])
    item = PrepareSpine(tmp_path / "cache", 3.0)(spine_datalist(table, "all")[0])
    for label, index in CENTRES.items():
        world = AFFINE[:3, :3] @ index + AFFINE[:3, 3]
        assert np.allclose(item["centres"][CHANNELS.index(label)], world, atol=0.1 if centroids else 1.0)
    assert (item["centres"][CHANNELS.index(1)] == FAR_MM).all()
    assert item["image"].shape[0] == 1 and item["image"].dtype.is_floating_point is False
    assert item["labels"].shape == (1, 20, 24, 30)


def test_unlabelled_sacrum_below_the_last_vertebra_is_unknown(tmp_path: Path) -> None:
    row = write_case(tmp_path, "a")
    entries = [{"direction": ["L", "A", "S"]}, {"label": 24, "X": 10, "Y": 12, "Z": 8}]
    (tmp_path / "a_ctd.json").write_text(json.dumps(entries))
    item = PrepareSpine(tmp_path / "cache", 3.0)(spine_datalist(write_table(tmp_path, [row]), "all")[0])
    assert item["centres"][CHANNELS.index(26)].isnan().all()


def test_preparation_is_kept_until_something_changes(tmp_path: Path) -> None:
    table = write_table(tmp_path, [write_case(tmp_path, "a")])
    cache = tmp_path / "cache"
    item = spine_datalist(table, "all")[0]
    PrepareSpine(cache, 3.0)(item)
    (kept,) = cache.iterdir()
    written = (kept / "image.npy").stat().st_mtime_ns
    PrepareSpine(cache, 3.0)(item)
    assert [p.name for p in cache.iterdir()] == [kept.name]
    assert (kept / "image.npy").stat().st_mtime_ns == written
    PrepareSpine(cache, 2.5)(item)
    PrepareSpine(cache, 3.0, smoothing_sigma=0.5)(item)
    assert len(list(cache.iterdir())) == 3
    os.utime(tmp_path / "a_seg.nii.gz", (1, 1))
    PrepareSpine(cache, 3.0)(item)
    assert len(list(cache.iterdir())) == 4


def test_failed_preparation_leaves_nothing(tmp_path: Path) -> None:
    row = write_case(tmp_path, "a")
    (tmp_path / "a_ctd.json").write_text("{")
    with pytest.raises(CaseError):
        PrepareSpine(tmp_path / "cache", 3.0)(spine_datalist(write_table(tmp_path, [row]), "all")[0])
    assert list((tmp_path / "cache").iterdir()) == []


def test_paths_of_image_and_label_are_enough(tmp_path: Path) -> None:
    row = write_case(tmp_path, "a", centroids=False)
    item = {"image": str(tmp_path / row["image_path"]), "label": str(tmp_path / row["mask_path"])}
    prepared = PrepareSpine(tmp_path / "cache", 3.0)(item)
    assert prepared["case"] == "a_ct"
    assert int((prepared["centres"].abs().amax(dim=1) < FAR_MM / 2).sum()) == len(CENTRES)
