"""Volumes of every format and orientation: values, affine, refusals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, SpatialCropd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.io.cases import find_cases
from shared.io.errors import CaseError
from shared.io.volumes import VolumeReader

SHAPE = (12, 10, 8)
SPACING = (0.7, 0.8, 2.5)


def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)


def directions(name: str) -> np.ndarray:
    """Columns of the LPS direction matrix of an image whose axes run to ``name``, turned a little."""
    ends = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    matrix = np.zeros((3, 3))
    for axis, letter in enumerate(name):
        row, sign = ends[letter]
        matrix[row, axis] = sign
    angle = 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return turn @ matrix


def write_itk(path: Path, name: str = "LPS") -> Path:
    image = sitk.GetImageFromArray(volume().T)
    image.SetSpacing(SPACING)
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(directions(name).ravel())
    sitk.WriteImage(image, str(path))
    return path


def write_series(folder: Path, positions=None, shear: float = 0.0, name: str = "LPS", **tags) -> Path:
    """A CT series of the volume, slices named out of order; the position of each along its normal in mm."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = directions(name)
    positions = np.arange(SHAPE[2]) * SPACING[2] if positions is None else positions
    series = generate_uid()
    for index, position in enumerate(positions):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.SeriesInstanceUID, data.Modality, data.PhotometricInterpretation = series, "CT", "MONOCHROME2"
        data.ImageOrientationPatient = [*axes[:, 0], *axes[:, 1]]
        place = np.array([10.0, -20, 30]) + position * (axes[:, 2] + shear * axes[:, 1])
        data.ImagePositionPatient = list(place)
        data.PixelSpacing = [SPACING[1], SPACING[0]]
        data.SamplesPerPixel, data.PixelRepresentation = 1, 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.Columns, data.Rows = SHAPE[:2]
        data.PixelData = (volume()[:, :, index % SHAPE[2]].T + 1024).astype(np.uint16).tobytes()
        for tag, value in tags.items():
            setattr(data, tag, value(index) if callable(value) else value)
        data.save_as(folder / f"IM{(index * 5) % 97:03d}", enforce_file_format=True)
    return folder


def load(path: Path, **kwargs) -> MetaTensor:
    return LoadImaged("image", reader=VolumeReader, **kwargs)({"image": str(path)})["image"]


def expected_affine(name: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions(name) @ np.diag(SPACING)
    affine[:3, 3] = 10, -20, 30
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("name", ["LPS", "RAS", "PIR", "ASL"])
def test_files_of_any_orientation_keep_values_and_world(tmp_path, suffix, name):
    image = load(write_itk(tmp_path / f"a.{suffix}", name))
    np.testing.assert_array_equal(image.numpy(), volume())
    np.testing.assert_allclose(image.affine, expected_affine(name), atol=1e-4)
    np.testing.assert_allclose(image.meta["original_affine"], image.affine)


@pytest.mark.parametrize("name", ["LPS", "PIR", "LPI"])
def test_a_dicom_series_is_stacked_by_position(tmp_path, name):
    folder = write_series(tmp_path / "patient", name=name)
    (folder / "notes.txt").write_text("text")
    assert find_cases(tmp_path, "volume") == [{"image": str(folder), "case": "patient"}]
    image = load(folder)
    affine = expected_affine(name)
    normal = np.cross(directions(name)[:, 0], directions(name)[:, 1])
    values = volume()
    if normal @ directions(name)[:, 2] < 0:  # left-handed axes: slices are stacked along the normal of their plane
        values = values[:, :, ::-1]
        affine = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(image.numpy(), values)
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    reference = sitk.ReadImage(names)
    point = reference.TransformIndexToPhysicalPoint((3, 4, 5))
    x, y, z = (np.linalg.inv(image.affine.numpy()) @ [-point[0], -point[1], point[2], 1])[:3].round().astype(int)
    assert image[x, y, z] == reference[3, 4, 5]


def test_a_voxel_is_found_again_after_reorientation_and_cropping(tmp_path):
    path = write_itk(tmp_path / "a.nrrd", "PIR")
    chain = Compose(
        [
            LoadImaged("image", reader="shared.io.volumes.VolumeReader"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            SpatialCropd("image", roi_start=(1, 2, 3), roi_end=(7, 11, 9)),
        ]
    )
    image = chain({"image": str(path)})["image"]
    to_file = np.linalg.inv(image.meta["original_affine"]) @ image.affine.numpy()
    index = (to_file @ [2, 3, 4, 1])[:3]
    np.testing.assert_allclose(index, index.round(), atol=1e-6)
    assert image[0, 2, 3, 4] == volume()[tuple(index.round().astype(int))]


def test_scouts_are_left_out(tmp_path):
    folder = write_series(tmp_path / "a")
    write_series(tmp_path / "b", positions=[400.0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    os.rename(tmp_path / "b" / "IM000", folder / "scout")
    np.testing.assert_array_equal(load(folder).numpy(), volume())


def test_a_label_map_may_be_empty(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    assert load(tmp_path / "a.nii.gz", allow_constant=True).sum() == 0
    with pytest.raises(CaseError, match="is blank"):
        load(tmp_path / "a.nii.gz")


EVEN = np.arange(8) * 2.5


@pytest.mark.parametrize(
    "words, options",
    [
        ("gantry tilt of 18.5 degrees", {"shear": np.tan(np.radians(18.5))}),
        ("uneven slices, 3.10 mm between", {"positions": np.where(EVEN > 10, EVEN + 0.6, EVEN)}),
        ("lacks 2 slices between", {"positions": np.delete(EVEN, [3, 4])}),
        ("two slices at one place", {"positions": np.where(EVEN == 5, 2.5, EVEN)}),
        ("a single slice", {"positions": [0.0]}),
        ("holds 2 series (6 slices, 2 slices)", {"SeriesInstanceUID": lambda i: "1.2" if i > 1 else "1.3"}),
        ("differs from", {"PixelSpacing": lambda i: [1, 1] if i == 4 else [2, 2]}),
        ("has no position", {"ImagePositionPatient": lambda i: None}),
        ("holds no image slices", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("cannot be decoded", {"PixelData": lambda i: b"" if i == 3 else b"\1\2" * 120, "BitsAllocated": 8}),
    ],
)
def test_series_that_are_no_even_volume_are_refused(tmp_path, words, options):
    folder = write_series(tmp_path / "a", **options)
    with pytest.raises(CaseError) as error:
        load(folder)
    assert words in str(error.value) and str(folder) in str(error.value), str(error.value)


def test_uneven_by_rounding_is_even(tmp_path):
    load(write_series(tmp_path / "a", positions=EVEN + np.random.default_rng(0).uniform(-0.02, 0.02, 8)))


def save_nifti(path: Path, array: np.ndarray, affine=None) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_sform(np.eye(4) if affine is None else affine, code=1)
    nibabel.save(nibabel.Nifti1Image(array, None, header), path)
    return path


def test_files_that_are_no_volume_are_refused(tmp_path):
    nan = volume().astype(np.float32)
    nan[1, 2, 3] = np.inf
    shear = np.eye(4)
    shear[1, 2] = 0.3
    singular = np.diag([1.0, 0, 1, 1])
    (tmp_path / "text.nii.gz").write_text("text")
    (tmp_path / "text.nrrd").write_text("text")
    cut = write_itk(tmp_path / "cut.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(cut[: len(cut) // 2])
    bad = {
        "time series": save_nifti(tmp_path / "time.nii.gz", np.zeros((4, 4, 4, 3), np.float32)),
        "a single slice (12 x 10)": save_nifti(tmp_path / "slice.nii.gz", volume()[:, :, :1]),
        "1 of 960 values": save_nifti(tmp_path / "nan.nii.gz", nan),
        "right angles": save_nifti(tmp_path / "shear.nii.gz", volume(), shear),
        "voxels of 1 x 0 x 1 mm": save_nifti(tmp_path / "singular.nii", volume(), singular),
        "is no whole NIfTI": tmp_path / "text.nii.gz",
        "is no whole image": tmp_path / "text.nrrd",
        "no whole NIfTI file": tmp_path / "cut.nii",
    }
    for words, path in bad.items():
        with pytest.raises(CaseError) as error:
            load(path)
        assert str(error.value).startswith(f"{path}: ") and words in str(error.value), str(error.value)


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA names no folder of real images")
def test_a_real_tilted_series_is_refused_and_a_real_ct_is_read():
    root = Path(os.environ["BUNDLES_DATA"])
    with pytest.raises(CaseError, match="gantry tilt of 18.5 degrees"):
        load(root / "ct_dicom_tilted_ge")
    path = sorted((root / "torso").rglob("*.nii.gz"))[0]
    image = load(path)
    header: Any = nibabel.load(path)
    np.testing.assert_allclose(image.affine, header.affine)
    assert image.min() >= -1100 and image.max() > 500
