"""Cases of head and neck: every published form is read right, and what does not fit is refused, one case at a time."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bundles.han_segmentation.scripts.cases import find_han_cases
from bundles.han_segmentation.scripts.contours import HanCase, read_han_case, validity_mask
from shared.engines.case_evaluator import CaseDataset, CaseFailure
from shared.io.errors import CaseError
from shared.io.itk_images import same_grid
from tests.han_segmentation.heads import NAMES, NUMBERS, TABLE, han_seg_folder, head, nifti_folder


def labels_of(case: HanCase) -> np.ndarray:
    assert case.labels is not None
    return sitk.GetArrayFromImage(case.labels).T


def read_only(root: Path) -> HanCase:
    (item,) = find_han_cases(root, TABLE)
    return read_han_case(item, TABLE)


def segment(folder: Path, name: str = "Parotid_L") -> Path:
    return folder / f"{folder.name}_OAR_{name}.seg.nrrd"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return han_seg_folder(tmp_path_factory.mktemp("han_seg"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of the case that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "set_1" / "case_01"))


def test_han_seg_as_published(published):
    case = read_only(published.parents[1])
    phantom = head(missing=2)
    assert case.case == "case_01" and not case.warnings
    np.testing.assert_array_equal(sitk.GetArrayFromImage(case.ct).T, phantom.ct)
    np.testing.assert_array_equal(labels_of(case), phantom.labels)
    assert case.labels is not None and same_grid(case.labels, case.ct)
    assert case.valid == phantom.contoured and len(case.valid) < 30
    assert case.mr is not None and phantom.mr is not None and case.mr.GetSize() == phantom.mr.shape


def test_segment_files_hold_boxes_of_their_own(published):
    """Without regard to its origin an organ would land in a corner of the CT."""
    image = sitk.ReadImage(str(segment(published)))
    assert np.prod(image.GetSize()) < 0.05 * head().ct.size
    assert image.GetMetaData("Segment0_LabelValue") == "1"


def test_missing_organ_and_missing_mr_shift_nothing(folder):
    next(folder.glob("*_IMG_MR_T1.nrrd")).unlink()
    segment(folder, "Brainstem").unlink(missing_ok=True)
    case = read_only(folder)
    assert case.mr is None and NUMBERS["Brainstem"] not in case.valid
    expected = head(missing=2).labels.copy()
    expected[expected == NUMBERS["Brainstem"]] = 0
    np.testing.assert_array_equal(labels_of(case), expected)


def test_label_value_and_empty_segment(folder):
    path = segment(folder)
    image = sitk.ReadImage(str(path))
    image = image * 4 + 2 * sitk.Cast(image == 0, image.GetPixelID())  # 4 is the organ, 2 something else
    image.SetMetaData("Segment0_LabelValue", "4")
    sitk.WriteImage(image, str(path))
    sitk.WriteImage(sitk.Image(1, 1, 1, sitk.sitkUInt8), str(segment(folder, "Lips")))
    case = read_only(folder)
    labels, truth = labels_of(case), head(missing=2).labels
    np.testing.assert_array_equal(labels == NUMBERS["Parotid_L"], truth == NUMBERS["Parotid_L"])
    assert NUMBERS["Lips"] not in case.valid and any("Lips is empty" in line for line in case.warnings)


def test_mr_of_another_orientation_keeps_its_place(folder):
    path = next(folder.glob("*_IMG_MR_T1.nrrd"))
    image = sitk.ReadImage(str(path))
    point = image.TransformIndexToPhysicalPoint((10, 20, 30))
    sitk.WriteImage(sitk.DICOMOrient(image, "PIR"), str(path))
    mr = read_only(folder).mr
    assert mr is not None and mr.GetSize() != image.GetSize()
    assert mr[mr.TransformPhysicalPointToIndex(point)] == image[10, 20, 30]


def test_nifti_folder(tmp_path):
    nifti_folder(tmp_path)
    case = read_only(tmp_path)
    np.testing.assert_array_equal(labels_of(case), head(missing=2).labels)
    assert case.valid == head(missing=2).contoured and case.case == "patient"


def test_labels_json_says_what_was_contoured(tmp_path):
    folder = nifti_folder(tmp_path)
    (folder / "labels.json").write_text('{"contoured": ["Lips", "Brainstem"]}')
    assert [NAMES[n] for n in read_only(tmp_path).valid] == ["Brainstem", "Lips"]
    for content in ('{"contoured": ["Nose"]}', "{}", "[1", "7"):
        (folder / "labels.json").write_text(content)
        with pytest.raises(CaseError, match="labels.json"):
            read_only(tmp_path)


def test_ct_alone_and_mr_given_beside(tmp_path):
    folder = nifti_folder(tmp_path)
    shutil.move(folder / "ct.nii.gz", tmp_path / "scan.nii.gz")
    (item,) = find_han_cases(tmp_path / "scan.nii.gz", TABLE, mr=folder / "mr_t1.nii.gz")
    case = read_han_case(item, TABLE)
    assert case.case == "scan" and case.mr is not None and case.labels is None and case.valid == ()
    assert "mr" not in find_han_cases(tmp_path / "scan.nii.gz", TABLE)[0]


def test_openkbp_form(tmp_path):
    folder = nifti_folder(tmp_path, "pt_1")
    (folder / "labels.json").unlink()
    image = sitk.ReadImage(str(folder / "labels.nii.gz"))
    (folder / "labels.nii.gz").unlink()
    numbers = {"Brainstem": 1, "Parotid_R": 3, "Esophagus_S": 5, "Bone_Mandible": 7}
    changed = sum(sitk.Cast(image == NUMBERS[name], sitk.sitkUInt8) * value for name, value in numbers.items())
    sitk.WriteImage(changed, str(folder / "oar.nii.gz"))
    case = read_only(tmp_path)
    assert [NAMES[n] for n in case.valid] == ["Bone_Mandible", "Brainstem", "Parotid_R"]
    labels, truth = labels_of(case), head(missing=2).labels
    np.testing.assert_array_equal(labels, np.where(np.isin(truth, case.valid), truth, 0))


def truncate(folder: Path) -> None:
    path = segment(folder)
    path.write_bytes(path.read_bytes()[:-40])


def shift_half_a_voxel(folder: Path) -> None:
    image = sitk.ReadImage(str(segment(folder)))
    image.SetOrigin([value + 2.0 for value in image.GetOrigin()])
    sitk.WriteImage(image, str(segment(folder)))


def move_away(folder: Path) -> None:
    image = sitk.ReadImage(str(segment(folder)))
    image.SetOrigin([value + 400.0 for value in image.GetOrigin()])
    sitk.WriteImage(image, str(segment(folder)))


def second_segment(folder: Path) -> None:
    image = sitk.ReadImage(str(segment(folder)))
    image.SetMetaData("Segment1_ID", "Segment_2")
    sitk.WriteImage(image, str(segment(folder)))


def unknown_organ(folder: Path) -> None:
    segment(folder).rename(segment(folder, "Nose"))


def no_ct(folder: Path) -> None:
    next(folder.glob("*_IMG_CT.nrrd")).unlink()


def not_in_hu(folder: Path) -> None:
    path = next(folder.glob("*_IMG_CT.nrrd"))
    sitk.WriteImage(sitk.ReadImage(str(path)) + 1024, str(path))


def broken_mr(folder: Path) -> None:
    next(folder.glob("*_IMG_MR_T1.nrrd")).write_bytes(b"NRRD0004\nnothing")


def two_mrs(folder: Path) -> None:
    path = next(folder.glob("*_IMG_MR_T1.nrrd"))
    shutil.copy(path, path.with_name("case_01_IMG_MR_T2.nrrd"))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (truncate, "Parotid_L"),
        (shift_half_a_voxel, "grid of its CT"),
        (move_away, "beyond its CT"),
        (second_segment, "more than one segment"),
        (unknown_organ, "no organ of the table"),
        (no_ct, "has no CT"),
        (not_in_hu, "no CT in HU"),
        (broken_mr, "IMG_MR_T1"),
        (two_mrs, "more than one MR"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_others_are_read(folder, published, spoil, words):
    shutil.copytree(published, folder.parent / "case_02")
    for path in sorted((folder.parent / "case_02").iterdir()):
        path.rename(path.with_name(path.name.replace("case_01", "case_02")))
    spoil(folder)
    items = CaseDataset(find_han_cases(folder.parents[1], TABLE), partial(read_han_case, table=TABLE))
    failed = [item for item in (items[0], items[1]) if isinstance(item, CaseFailure)]
    assert len(items) == 2 and len(failed) == 1
    assert words in failed[0].line and "unexpected" not in failed[0].line, failed[0].line
    assert isinstance(items[1], HanCase) and items[1].case == "case_02"


def test_two_cases_of_one_name_and_label_values(tmp_path):
    nifti_folder(tmp_path / "a")
    nifti_folder(tmp_path / "b")
    assert [case["case"] for case in find_han_cases(tmp_path, TABLE)] == ["a_patient", "b_patient"]
    path = tmp_path / "a" / "patient" / "labels.nii.gz"
    (path.parent / "labels.json").unlink()
    sitk.WriteImage(sitk.ReadImage(str(path)) + 5, str(path))
    with pytest.raises(CaseError, match="labels are 0 to 30"):
        read_only(tmp_path / "a")


def test_background_is_known_only_where_every_organ_is():
    assert validity_mask(tuple(range(1, 31)), 30).sum() == 31
    mask = validity_mask((5, 30), 30)
    assert mask.sum() == 2 and mask[5] == mask[30] == 1


def test_real_patients_of_openkbp():
    root = Path(os.environ.get("BUNDLES_DATA", "")) / "head_neck" / "openkbp"
    if not os.environ.get("BUNDLES_DATA") or not root.exists():
        pytest.skip("BUNDLES_DATA names no folder with head_neck/openkbp")
    items = find_han_cases(root / "validation", TABLE)
    assert len(items) == 31
    case = read_han_case(items[0], TABLE)
    known = {"Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Bone_Mandible"}
    assert case.mr is None and case.valid and {NAMES[n] for n in case.valid} <= known
    assert json.dumps(case.warnings) == "[]"
