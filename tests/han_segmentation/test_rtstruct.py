"""RT structure sets: opened again and filled by another library, they give the label map back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Polygon
from pydicom.uid import RTStructureSetStorage, generate_uid

from bundles.han_segmentation.scripts.rtstruct import Series, slice_contours, structure_set
from shared.geometry.frames import ras_to_lps
from shared.io.cases import is_series
from shared.io.volumes import VolumeReader
from tests.han_segmentation.heads import NUMBERS, TABLE
from tests.io.test_volumes import SHAPE, write_series


def labels() -> np.ndarray:
    """Three organs: one with a hole and an island in it, one of two parts, one of a single voxel."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:8, 1:8, 1:6] = NUMBERS["Bone_Mandible"]
    array[3:6, 3:6, 2:5] = 0
    array[4, 4, 3] = NUMBERS["Bone_Mandible"]
    array[9:11, 0:3, :] = array[9:12, 7:10, :3] = NUMBERS["Parotid_L"]
    array[11, 5, 7] = NUMBERS["Cochlea_R"]
    return array


def filled(data: pydicom.Dataset, affine: np.ndarray) -> np.ndarray:
    """Label map (X, Y, Z) of a structure set on a grid (indices to LPS mm), each contour filled on its own."""
    result = np.zeros(SHAPE, np.uint8)
    back = np.linalg.inv(affine)
    grid = np.stack(np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij"), axis=-1).reshape(-1, 2)
    for organ in data.ROIContourSequence:
        for contour in organ.ContourSequence:
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            index = points @ back[:3, :3].T + back[:3, 3]
            height = np.unique(np.round(index[:, 2]))
            assert len(height) == 1 and np.abs(index[:, 2] - height).max() < 0.01, "contours lie on the slices"
            inside = Polygon(index[:, :2]).contains_points(grid).reshape(SHAPE[:2])
            result[:, :, int(height[0])][inside] = organ.ReferencedROINumber
    return result


@pytest.mark.parametrize("direction", ["LPS", "PSL", "RAI"])
def test_a_structure_set_opened_again_is_the_label_map(tmp_path: Path, direction: str) -> None:
    known = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), "PatientName": "Doe^Jane"}
    folder = write_series(tmp_path / "ct", name=direction, **known)
    _, meta = VolumeReader().get_data(folder)
    path = tmp_path / "set.dcm"
    structure_set(labels(), Series.read(folder), TABLE).save_as(path, enforce_file_format=True)
    data = pydicom.dcmread(path)
    np.testing.assert_array_equal(filled(data, ras_to_lps(meta["affine"])), labels())

    assert data.SOPClassUID == RTStructureSetStorage and data.Modality == "RTSTRUCT"
    assert all(data[tag].value == value for tag, value in known.items() if tag != "FrameOfReferenceUID")
    assert [roi.ROIName for roi in data.StructureSetROISequence] == ["Bone_Mandible", "Cochlea_R^phantoms", "Parotid_L"]
    assert {roi.ReferencedFrameOfReferenceUID for roi in data.StructureSetROISequence} == {known["FrameOfReferenceUID"]}
    slices = {pydicom.dcmread(file).SOPInstanceUID: pydicom.dcmread(file) for file in folder.iterdir()}
    for organ in data.ROIContourSequence:
        for contour in organ.ContourSequence:
            image = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            normal = np.cross(*np.reshape(np.array(image.ImageOrientationPatient, float), (2, 3)))
            away = np.reshape(np.array(contour.ContourData, float), (-1, 3)) - np.array(image.ImagePositionPatient)
            assert np.abs(away @ normal).max() < 0.01, "each contour names the slice that it lies on"


def test_series_without_study_and_repeated_writing(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    assert is_series(folder) and not is_series(tmp_path)
    files = [tmp_path / name for name in ("first.dcm", "second.dcm", "other.dcm")]
    for file, marks in zip(files, (labels(), labels(), labels()[::-1]), strict=True):
        structure_set(marks, Series.read(folder), TABLE).save_as(file, enforce_file_format=True)
    first, second, other = (pydicom.dcmread(file) for file in files)
    assert first.SOPInstanceUID == second.SOPInstanceUID != other.SOPInstanceUID
    assert first.StudyInstanceUID == other.StudyInstanceUID and first.StudyInstanceUID


def test_contours_of_random_masks_hold_exactly_their_voxels() -> None:
    generator = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(14), indexing="ij"), axis=-1).reshape(-1, 2)
    for share in (0.1, 0.4, 0.6, 0.9):
        mask = generator.random((16, 14)) < share
        inside = [Polygon(polygon).contains_points(grid).reshape(mask.shape) for polygon in slice_contours(mask)]
        np.testing.assert_array_equal(np.sum(inside, axis=0), mask.astype(int))  # and no voxel lies in two of them
    assert slice_contours(np.zeros((4, 4), bool)) == []
