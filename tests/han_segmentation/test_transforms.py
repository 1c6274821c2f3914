"""A case becomes the input of the network; what became of its MR is reported; wrong cases are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import Compose, LoadImaged

from bundles.han_segmentation.scripts.transforms import HanInputd, RefuseWrongCase, inference_cases
from shared.engines.case_evaluator import CaseDataset, CaseFailure
from shared.io.ct_check import CheckCTd
from shared.io.volumes import VolumeReader
from tests.han_segmentation.heads import TABLE, han_seg_folder, head, nifti_folder

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def prepare(root: Path, **settings: object) -> list:
    load = LoadImaged("image", reader=VolumeReader, ensure_channel_first=True, dtype=None)
    steps = Compose([RefuseWrongCase(), load, CheckCTd("image", 60), HanInputd("image", 5.0, TABLE, **settings)])
    data = CaseDataset(inference_cases(root, TABLE), steps)
    return [data[index] for index in range(len(data))]


def test_ct_and_mr(tmp_path: Path) -> None:
    han_seg_folder(tmp_path)
    (item,) = prepare(tmp_path)
    phantom = head(missing=2)
    report = json.loads(item["mr_report"])
    assert item["case"] == "case_01" and report["used"] and report["file"] == "case_01_IMG_MR_T1.nrrd"
    assert np.allclose(report["mr_to_ct_lps_mm"], LPS @ phantom.mr_to_ct @ LPS, atol=1.5)
    assert item["image"].shape[0] == len(TABLE.windows_hu) + 2 and bool(item["image"][-1].any())
    assert item["original"].shape[1:] == phantom.ct.shape and item["aligned_mr"].shape[1:] == phantom.mr.shape
    (alone,) = prepare(tmp_path, use_mr="False")
    assert not json.loads(alone["mr_report"])["used"] and not bool(alone["image"][-2:].any())
    assert np.allclose(item["image"][:-2], alone["image"][:-2])


def test_an_mr_that_does_not_fit_is_left_out_and_said_so(tmp_path: Path) -> None:
    folder = nifti_folder(tmp_path)
    image = sitk.ReadImage(str(folder / "mr_t1.nii.gz"))
    sitk.WriteImage(image * 0, str(folder / "mr_t1.nii.gz"))
    (item,) = prepare(tmp_path)
    report = json.loads(item["mr_report"])
    assert not report["used"] and report["reason"] == "it is empty"
    assert "the result is from the CT alone" in report["warnings"][0] and "aligned_mr" not in item


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "mr_t1.nii.gz").write_bytes(b"nothing"), "mr_t1.nii.gz: is no whole NIfTI file"),
        (
            lambda f: (f / "ct.nii.gz").write_bytes((f / "ct.nii.gz").read_bytes()[:-3000]),
            "ct.nii.gz: is no whole NIfTI",
        ),
        (lambda f: sitk.WriteImage(sitk.ReadImage(str(f / "ct.nii.gz")) + 1500, str(f / "ct.nii.gz")), "no CT in HU"),
        (
            lambda f: sitk.WriteImage(sitk.ReadImage(str(f / "ct.nii.gz"))[:, :, 30:35], str(f / "ct.nii.gz")),
            "20 mm in size",
        ),
        (lambda f: (f / "mr_t2.nii.gz").write_bytes(b"nothing"), "more than one MR"),
    ],
    ids=["broken MR", "truncated CT", "no HU", "thin", "two MRs"],
)
def test_wrong_cases_are_refused_one_by_one(tmp_path: Path, spoil, says: str) -> None:
    spoil(nifti_folder(tmp_path, "wrong"))
    nifti_folder(tmp_path, "right")
    (tmp_path / "right" / "mr_t1.nii.gz").unlink()
    right, wrong = prepare(tmp_path)
    assert right["case"] == "right" and isinstance(wrong, CaseFailure)
    assert says in wrong.line and "unexpected" not in wrong.line, wrong.line
