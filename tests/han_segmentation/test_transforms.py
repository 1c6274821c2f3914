"""A case becomes the input of the network; what became of its MR is reported; wrong cases are refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import Compose, LoadImaged

from bundles.han_segmentation.scripts.transforms import HanInputd, RefuseWrongCase, inference_cases
from shared.engines.case_evaluator import CaseDataset, CaseFailure
from shared.io.ct_check import CheckCTd
from shared.io.intake import case_facts
from shared.io.volumes import VolumeReader
from tests.han_segmentation.heads import TABLE, han_seg_folder, head, nifti_folder
from tests.io.test_volumes import write_series

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


def test_a_big_endian_mr_is_read_or_refused_by_its_own_name(tmp_path: Path) -> None:
    folder = nifti_folder(tmp_path)
    image = nibabel.load(folder / "mr_t1.nii.gz")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    values = np.asarray(image.dataobj).astype(">i2")
    nibabel.save(nibabel.Nifti1Image(values, image.affine, header), folder / "mr_t1.nii.gz")
    (item,) = prepare(tmp_path)
    if isinstance(item, CaseFailure):
        assert "mr_t1.nii.gz: cannot be read" in item.line
    else:
        assert json.loads(item["mr_report"])["used"]


def without_orientation(folder: Path) -> None:
    """A NIfTI file whose sform and qform say nothing: which side is left cannot be told from a head and neck."""
    image = nibabel.load(folder / "ct.nii.gz")
    header = image.header.copy()
    header.set_sform(None, code=0)
    header.set_qform(None, code=0)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, header), folder / "ct.nii.gz")


def test_unknown_left_and_right_is_refused_or_taken_as_said(tmp_path: Path) -> None:
    """Until now such a CT was read as if its axes ran to the right, the front and the head."""
    without_orientation(nifti_folder(tmp_path))
    (item,) = prepare(tmp_path)
    assert isinstance(item, CaseFailure) and "left and right could be exchanged" in item.line
    load = LoadImaged("image", VolumeReader, ensure_channel_first=True, dtype=None, assume_orientation="LPS")
    (case,) = inference_cases(tmp_path, TABLE)
    ct = HanInputd("image", 5.0, TABLE, use_mr=False)(load(case))["original"]
    facts = case_facts(ct)
    assert facts["orientation"] == "option" and "LPS was assumed" in facts["warnings"][0]
    assert float(ct.affine[0, 0]) < 0


def test_what_calls_itself_another_modality_is_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scan", Modality="MR")
    (item,) = prepare(folder)
    assert isinstance(item, CaseFailure) and "is an MR by its header, no CT" in item.line
