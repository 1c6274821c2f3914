"""Preparing a data set: what is kept, what a picture of it shows, bad cases one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image

from bundles.han_segmentation.scripts.cases import find_han_cases
from bundles.han_segmentation.scripts.data import PrepareHan
from bundles.han_segmentation.scripts.preprocess import CheckReference, write_cache, write_pictures
from shared.engines.case_evaluator import CaseDataset
from tests.han_segmentation.heads import TABLE, han_seg_folder, nifti_folder


def data_set(root: Path, cache: Path) -> CaseDataset:
    return CaseDataset(find_han_cases(root, TABLE), Compose([CheckReference(), PrepareHan(cache, 5.0, TABLE)]))


def test_a_data_set_is_prepared_once_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, cache, pictures = tmp_path / "cases", tmp_path / "cache", tmp_path / "pictures"
    han_seg_folder(cases)
    write_cache(data_set(cases, cache))
    (kept,) = cache.iterdir()
    monkeypatch.setattr(PrepareHan, "prepare", lambda *_: pytest.fail("prepared again"))
    write_pictures(data_set(cases, cache), str(pictures), TABLE)
    assert [path.name for path in cache.iterdir()] == [kept.name]
    with Image.open(pictures / "case_01.png") as picture:
        upper, lower = np.array_split(np.asarray(picture.convert("L")), 2)
    assert upper.std() > 20 and lower.std() > 20, "CT above, MR below"


def test_bad_cases_cost_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nifti_folder(tmp_path / "cases", "good")
    (tmp_path / "cases" / "good" / "mr_t1.nii.gz").unlink()
    for name, unwanted in (("bare", "labels.nii.gz"), ("broken", "")):
        folder = nifti_folder(tmp_path / "cases", name)
        (folder / unwanted).unlink() if unwanted else (folder / "ct.nii.gz").write_bytes(b"nothing")
    with pytest.raises(SystemExit) as end:
        write_cache(data_set(tmp_path / "cases", tmp_path / "cache"))
    lines = [line for line in capsys.readouterr().err.splitlines() if "ct.nii.gz: " in line]
    assert end.value.code == 1 and len(lines) == 2
    assert "bare/ct.nii.gz: has no contours" in lines[0] and "broken/ct.nii.gz: is no whole NIfTI" in lines[1]
    assert [path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()] == ["good"]
