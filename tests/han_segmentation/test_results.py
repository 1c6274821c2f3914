"""What is reported about a case: volumes, sides, what is missing or cut off; files in the format of the CT."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from bundles.han_segmentation.scripts.pictures import axial_levels, han_picture
from bundles.han_segmentation.scripts.results import HanResultsd, case_document, case_warnings, picture_title
from shared.io.itk_images import index_matrix, read_image, same_grid
from shared.io.volumes import VolumeReader
from shared.io.writers import SaveCased
from tests.han_segmentation.heads import NAMES, NUMBERS, PAIRS, TABLE, head
from tests.io.test_volumes import SHAPE, write_series

NO_MR = {"used": False}
EVERY = TABLE.shown("all")


def tensor(array: np.ndarray, affine: np.ndarray, name: str = "ct.nii.gz") -> MetaTensor:
    meta = {"filename_or_obj": name, "original_affine": torch.as_tensor(affine)}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array))[None], torch.as_tensor(affine), meta)


def save(output: Path, ct: MetaTensor, labels: MetaTensor, case: str, organs: str = "all", **more: str) -> dict:
    saver = SaveCased("pred", output, "segmentation", output_ext="input")
    return Compose([HanResultsd("pred", TABLE, organs, output_dir=output), saver])(
        {"case": case, "original": ct, "pred": labels, **more}
    )


def test_volumes_and_names() -> None:
    phantom = head()
    document = case_document("head", phantom.labels, phantom.affine, NO_MR, TABLE, EVERY)
    assert document["labels"] == {str(number): name for number, name in NAMES.items()}
    voxel_ml = 4.0**3 / 1000
    for name, volume in document["volumes_ml"].items():
        assert volume == pytest.approx((phantom.labels == NUMBERS[name]).sum() * voxel_ml, abs=1e-3)
    assert json.loads(json.dumps(document)) == document and document["mr"] == NO_MR


def test_warnings() -> None:
    phantom = head()
    spacing = np.diag([3.6, 3.6, 3.6, 1.0])
    usual = case_warnings(phantom.labels, spacing, TABLE, EVERY)
    assert not any("exchanged" in line or "not found" in line for line in usual)
    assert any(line.startswith("cut off by the end of the CT") and "SpinalCord" in line for line in usual)
    exchanged = case_warnings(TABLE.mirrored_numbers()[phantom.labels], spacing, TABLE, EVERY)
    assert sum("exchanged" in line for line in exchanged) == len(PAIRS)
    upper = np.where(phantom.labels == NUMBERS["Glottis"], 0, phantom.labels)
    assert "not found, perhaps outside of the view: Glottis" in case_warnings(upper, spacing, TABLE, EVERY)
    assert any(
        "voxels are 5.0 mm" in line
        for line in case_warnings(phantom.labels, np.diag([1.0, 1.0, 5.0, 1.0]), TABLE, EVERY)
    )


@pytest.mark.parametrize(
    ("source", "written"), [("a/ct.nii.gz", ".nii.gz"), ("x_IMG_CT.nrrd", ".nrrd"), ("ct.mha", ".nii.gz")]
)
def test_files_of_a_case(tmp_path: Path, source: str, written: str) -> None:
    phantom = head()
    flipped = phantom.affine @ np.diag([-1.0, -1.0, 1.0, 1.0])  # any orientation of the file
    ct, labels = tensor(phantom.ct, flipped, source), tensor(phantom.labels, flipped)
    report = {"used": True, "information": 0.2, "warnings": ["check the MR"]}
    save(tmp_path, ct, labels, "patient.1", mr_report=json.dumps(report))
    names = {f"patient.1_segmentation{written}", "patient.1_segmentation.json", "patient.1_preview.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    image = read_image(tmp_path / f"patient.1_segmentation{written}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, phantom.labels)
    assert np.allclose(index_matrix(image), np.diag([-1, -1, 1, 1]) @ flipped, atol=1e-4)
    assert image.GetPixelID() == sitk.sitkUInt8
    document = json.loads((tmp_path / "patient.1_segmentation.json").read_text())
    assert document["mr"] == {"used": True, "information": 0.2} and document["warnings"][0] == "check the MR"
    with Image.open(tmp_path / "patient.1_preview.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 20


def test_a_dicom_series_gets_a_structure_set(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series")
    reader = VolumeReader()
    array, meta = reader.get_data(reader.read(folder))
    marks = np.zeros(SHAPE, np.uint8)
    marks[3:7, 3:7, 2:5] = NUMBERS["Brainstem"]
    ct = tensor(array, meta["affine"], str(folder))
    result = save(tmp_path / "out", ct, tensor(marks, meta["affine"]), "scan")
    data = pydicom.dcmread(tmp_path / "out" / "scan_rtstruct.dcm")
    assert [roi.ROIName for roi in data.StructureSetROISequence] == ["Brainstem"]
    assert same_grid(read_image(tmp_path / "out" / "scan_segmentation.nii.gz"), read_image(folder))
    assert result["result"]["volumes_ml"].keys() == {"Brainstem"}


@pytest.mark.parametrize(("choice", "names"), [("patients", ["Brainstem"]), ("all", ["Brainstem", "Eye_AL^phantoms"])])
def test_what_phantoms_taught_is_left_out_or_marked(tmp_path: Path, choice: str, names: list[str]) -> None:
    folder = write_series(tmp_path / "series")
    reader = VolumeReader()
    array, meta = reader.get_data(reader.read(folder))
    marks = np.zeros(SHAPE, np.uint8)
    marks[3:7, 3:7, 2:5], marks[8:10, 3:7, 2:5] = NUMBERS["Brainstem"], NUMBERS["Eye_AL"]
    ct = tensor(array, meta["affine"], str(folder))
    save(tmp_path / "out", ct, tensor(marks, meta["affine"]), "scan", organs=choice)
    data = pydicom.dcmread(tmp_path / "out" / "scan_rtstruct.dcm")
    assert [roi.ROIName for roi in data.StructureSetROISequence] == names
    for roi in data.StructureSetROISequence:
        assert ("not validated" in roi.get("ROIDescription", "")) == roi.ROIName.endswith("^phantoms")
    document = json.loads((tmp_path / "out" / "scan_segmentation.json").read_text())
    assert document["learned_from"] == {
        organ.name: organ.learned_from for organ in TABLE.organs if choice == "all" or organ.learned_from == "patients"
    }
    assert list(document["volumes_ml"]) == [name.split("^")[0] for name in names]
    labels = sitk.GetArrayFromImage(read_image(tmp_path / "out" / "scan_segmentation.nii.gz"))
    assert set(np.unique(labels)) == {0, *(NUMBERS[name.split("^")[0]] for name in names)}
    title = picture_title(document)
    assert any("learned from phantoms alone" in line for line in title) == (choice == "all")


def test_a_multi_frame_ct_keeps_its_label_map_without_a_structure_set(tmp_path: Path) -> None:
    """Contours cannot name its frames. Until now the writer raised, and the label map was never saved."""
    phantom = head()
    folder = write_series(tmp_path / "series", positions=[0.0], NumberOfFrames=3)
    file = str(next(folder.iterdir()))
    ct, labels = tensor(phantom.ct, phantom.affine, file), tensor(phantom.labels, phantom.affine)
    ct.meta["modality"] = "CT"
    document = save(tmp_path / "out", ct, labels, "scan")["result"]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"scan_segmentation.nii.gz", "scan_segmentation.json", "scan_preview.png"}
    assert document["warnings"][-1].startswith("no RT structure set: contours cannot name the frames")
    assert json.loads((tmp_path / "out" / "scan_segmentation.json").read_text()) == document


def test_without_a_name_nothing_is_written(tmp_path: Path) -> None:
    phantom = head()
    ct, labels = tensor(phantom.ct, phantom.affine), tensor(phantom.labels, phantom.affine)
    result = HanResultsd("pred", TABLE, "all", output_dir=tmp_path)({"original": ct, "pred": labels})
    assert list(tmp_path.iterdir()) == [] and len(result["result"]["volumes_ml"]) == 30


def test_picture_shows_the_organs_and_copes_without() -> None:
    phantom = head()
    levels = axial_levels(phantom.labels, TABLE.axial_planes)
    assert levels == sorted(levels, reverse=True), "from the head down"
    for level, organs in zip(levels, TABLE.axial_planes, strict=True):
        assert set(np.unique(phantom.labels[:, :, level])) & set(organs)
    ct, labels = tensor(phantom.ct, phantom.affine), tensor(phantom.labels, phantom.affine)
    assert han_picture(ct, labels * 0, TABLE, ["nothing found"]).size != han_picture(ct, labels, TABLE).size
