"""Volumes of every format and orientation: values, affine, refusals."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, SpatialCropd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from shared.io.cases import find_cases, is_series
from shared.io.errors import CaseError
from shared.io.intake import case_facts
from shared.io.json_files import write_json
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
    series, first = generate_uid(), len(list(folder.iterdir()))
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
        data.save_as(folder / f"IM{(index * 5) % 97 + 100 * first:03d}", enforce_file_format=True)
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
MANY = np.arange(60)


@pytest.mark.parametrize(
    "words, options",
    [
        ("gantry tilt of 18.5 degrees", {"shear": np.tan(np.radians(18.5))}),
        ("uneven slices, 3.10 mm between", {"positions": np.where(EVEN > 10, EVEN + 0.6, EVEN)}),
        ("lacks 2 slices between", {"positions": np.delete(EVEN, [3, 4])}),
        ("lacks 1 slices between", {"positions": np.delete(np.round(MANY * 0.625, 1), 30)}),
        ("uneven slices", {"positions": np.cumsum(np.where(MANY < 30, 0.6, 0.7))}),
        ("two slices at one place", {"positions": np.where(EVEN == 5, 2.5, EVEN)}),
        ("a single slice", {"positions": [0.0]}),
        ("holds 2 series (6 slices, 2 slices)", {"SeriesInstanceUID": lambda i: "1.2" if i > 1 else "1.3"}),
        ("differs from", {"PixelSpacing": lambda i: [1, 1] if i == 4 else [2, 2]}),
        ("has no position", {"ImagePositionPatient": lambda i: None}),
        ("holds no image slices", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        (
            "IM015: is cut off or has pixels that cannot be decoded",
            {"PixelData": lambda i: b"" if i == 3 else b"\1\2" * 120, "BitsAllocated": 8},
        ),
    ],
)
def test_series_that_are_no_even_volume_are_refused(tmp_path, words, options):
    folder = write_series(tmp_path / "a", **options)
    with pytest.raises(CaseError) as error:
        load(folder)
    assert words in str(error.value) and str(folder) in str(error.value), str(error.value)


def test_uneven_by_rounding_is_even(tmp_path):
    load(write_series(tmp_path / "a", positions=EVEN + np.random.default_rng(0).uniform(-0.02, 0.02, 8)))


@pytest.mark.parametrize("step", [0.625, 0.75])
def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(tmp_path, step):
    image = load(write_series(tmp_path / "a", positions=np.round(MANY * step, 1)))
    assert np.linalg.norm(image.affine.numpy()[:3, 2]) == pytest.approx(step, abs=0.002)


@pytest.mark.parametrize("same_object", [True, False])
def test_a_copy_of_a_slice_is_no_phase(tmp_path, same_object):
    folder = write_series(tmp_path / "a")
    copy = pydicom.dcmread(folder / "IM010")
    if not same_object:
        copy.SOPInstanceUID = generate_uid()
    copy.save_as(folder / "copy of IM010.dcm")
    np.testing.assert_array_equal(load(folder).numpy(), volume())
    copy.SOPInstanceUID, copy.PixelData = generate_uid(), bytes(len(copy.PixelData))
    copy.save_as(folder / "copy of IM010.dcm")
    with pytest.raises(CaseError, match="two slices at one place"):
        load(folder)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_slice_is_named(tmp_path, keep):
    path = write_series(tmp_path / "a") / "IM010"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) - (1 - keep) * 240)])
    with pytest.raises(CaseError, match="IM010: is cut off"):
        load(path.parent)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_slices_without_preamble_and_suffix(tmp_path, syntax):
    folder = write_series(tmp_path / "in" / "a")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.preamble = None
        explicit = syntax == ExplicitVRLittleEndian
        bare = Dataset({element.tag: element for element in data})
        pydicom.dcmwrite(path, bare, implicit_vr=not explicit, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    assert [case["case"] for case in find_cases(tmp_path / "in", "volume")] == ["a"]
    np.testing.assert_array_equal(load(folder).numpy(), volume())


def test_a_dicomdir_stands_for_its_folder(tmp_path):
    write_series(tmp_path / "DICOM" / "S1")
    write_series(tmp_path / "DICOM" / "S2")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    for given in (tmp_path, tmp_path / "DICOMDIR"):
        assert [case["case"] for case in find_cases(given, "volume")] == ["S1", "S2"]


def test_several_series_of_a_folder_are_a_case_each(tmp_path, caplog):
    write_series(tmp_path / "p1", SeriesNumber=2)
    write_series(tmp_path / "p1", positions=EVEN[:5] + 100, SeriesNumber=3)
    write_series(tmp_path / "p1", positions=[7.0], SeriesNumber=4)
    cases = find_cases(tmp_path, "volume")
    assert sorted(case["case"] for case in cases) == ["p1_2", "p1_3"]
    assert sorted(load(Path(case["image"])).shape[2] for case in cases) == [5, 8]
    assert "a single slice" in caplog.text
    for case in cases:  # what stands for a series may be given as well
        assert len(find_cases(case["image"], "volume")) == 1


@pytest.mark.parametrize("parts", [("head", "feet"), ("p1/a", "p1/b")])
def test_a_series_in_two_folders_is_one_case(tmp_path, parts):
    uid = generate_uid()
    for number, part in enumerate(parts):
        write_series(tmp_path / part, EVEN[4 * number :][:4], SeriesInstanceUID=uid)
    (case,) = find_cases(tmp_path, "volume")
    assert load(Path(case["image"])).shape == (*SHAPE[:2], 8)


def test_equal_identifiers_of_two_patients_stay_apart_and_copies_are_left_out(tmp_path, caplog):
    for patient in ("1", "2"):
        write_series(tmp_path / patient, SeriesInstanceUID="1.2.3", PatientID=patient)
    assert [case["case"] for case in find_cases(tmp_path, "volume")] == ["1", "2"]
    assert not caplog.text
    shutil.copytree(tmp_path / "1", tmp_path / "1 again")
    assert len(find_cases(tmp_path, "volume")) == 2 and "a copy of a series" in caplog.text


@pytest.mark.parametrize("kind", ["SR", "OT", "RTSTRUCT", "DOC"])
def test_other_objects_in_a_series_folder_do_not_block_it(tmp_path, caplog, kind):
    folder = write_series(tmp_path / "a")
    data = pydicom.dcmread(folder / "IM000")
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del data[tag]
    if kind != "OT":  # a screenshot or dose sheet has pixels
        del data.PixelData, data.Rows, data.Columns
    data.Modality, data.SeriesInstanceUID, data.SOPInstanceUID = kind, generate_uid(), generate_uid()
    data.save_as(folder / "dose.dcm")
    (case,) = find_cases(tmp_path, "volume")
    np.testing.assert_array_equal(load(Path(case["image"])).numpy(), volume())
    assert f"dose.dcm ({kind})" in caplog.text


def test_a_mixed_tree_is_read_whole(tmp_path, caplog):
    """One stray slice hides nothing, and neither does a file one folder higher or of another name."""
    write_itk(tmp_path / "scan.nrrd")
    for name in ("p1/ct.nii.gz", "p2/scan.nii.gz", "p3/deep/ct.mha"):
        (tmp_path / name).parent.mkdir(parents=True)
        write_itk(tmp_path / name)
    write_series(tmp_path / "p4" / "1.2.840.7")
    shutil.copy(tmp_path / "p4" / "1.2.840.7" / "IM000", tmp_path / "p1" / "stray.dcm")
    shutil.copy(tmp_path / "p4" / "1.2.840.7" / "IM000", tmp_path / "stray.dcm")
    names = [case["case"] for case in find_cases(tmp_path, "volume")]
    assert sorted(names) == sorted(["p1_ct", "p2_scan", "p3_deep_ct", "1.2.840.7", "scan"]), names
    assert "stray.dcm" in caplog.text


def test_results_and_label_maps_are_no_cases(tmp_path, caplog):
    for name in ("a.nii.gz", "a_seg.nii.gz", "b_ct.nii.gz", "b_seg.nii.gz", "c_2.nii.gz", "c.nii.gz"):
        write_itk(tmp_path / name)
    for name in ("a_segmentation.nii.gz", "c_spine.nii.gz", "c_ct.nii.gz"):
        write_itk(tmp_path / name)
    assert len(find_cases(tmp_path, "volume")) == 6  # without a JSON, "_spine" and "_ct" may be a user's own names
    assert "3 left out" in caplog.text and "a_seg.nii.gz" in caplog.text
    for name in ("a_segmentation", "c_spine_centroid"):
        write_json(tmp_path / f"{name}.json", {"case": name[0]})
    assert [case["case"] for case in find_cases(tmp_path, "volume")] == ["a", "b_ct", "c", "c_2"]
    assert len(find_cases(tmp_path, "volume", label_maps=True)) == 6
    assert len(find_cases(tmp_path / "a_segmentation.nii.gz", "volume")) == 1


def test_pictures_of_results_are_no_radiographs(tmp_path, caplog):
    for name in ("a.png", "a_overlay.png", "b_overlay.png", "b/gt.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b" / "parameters.pt").write_bytes(b"x")
    write_json(tmp_path / "a_landmarks.json", {"case": "a"})
    write_json(tmp_path / "b_pose.json", {"case": "b"})
    assert [case["case"] for case in find_cases(tmp_path)] == ["a"]
    assert "a_overlay.png" in caplog.text and "4 left out" in caplog.text


def multi_frame(path: Path, order=range(8), slopes=None, positions=EVEN) -> Path:
    """An enhanced CT of the volume whose frames are stored in an order, with a slope each where given."""
    axes = directions("LPS")
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = EnhancedCTImageStorage, generate_uid(), "1.2.9"
    data.Modality, data.PhotometricInterpretation = "CT", "MONOCHROME2"
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.Columns, data.Rows, data.NumberOfFrames = SHAPE[0], SHAPE[1], len(order)
    shared, plane, sizes = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = [*axes[:, 0], *axes[:, 1]]
    sizes.PixelSpacing = [SPACING[1], SPACING[0]]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [sizes]
    data.SharedFunctionalGroupsSequence = [shared]
    frames, pixels = [], []
    for index in order:
        slope = 1.0 if slopes is None else slopes[index]
        frame, place, rescale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = list(np.array([10.0, -20, 30]) + positions[index] * axes[:, 2])
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, -1024
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [rescale]
        frames.append(frame)
        pixels.append(np.round((volume()[:, :, index].T + 1024) / slope).astype(np.uint16))
    data.PerFrameFunctionalGroupsSequence = frames
    data.PixelData = np.stack(pixels).tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


SHUFFLED = [3, 0, 7, 1, 2, 6, 5, 4]


@pytest.mark.parametrize("order", [range(8), SHUFFLED])
@pytest.mark.parametrize("slopes", [None, [1.0, 2.0] * 4])
def test_frames_are_stacked_by_position_with_their_own_rescale(tmp_path, order, slopes):
    image = load(multi_frame(tmp_path / "a.dcm", order, slopes))
    assert np.abs(image.numpy() - volume()).max() <= (0 if slopes is None else 1)
    np.testing.assert_allclose(image.affine, expected_affine("LPS"), atol=1e-4)
    (case,) = find_cases(tmp_path, "volume")
    np.testing.assert_array_equal(load(Path(case["image"])).numpy(), image.numpy())


@pytest.mark.parametrize(
    "order, words", [([0, 1, 2, 5, 6, 7], "lacks 2 slices between frame 3"), ([0, 2, 1, 1], "two")]
)
def test_frames_that_are_missing_or_doubled_are_refused(tmp_path, order, words):
    with pytest.raises(CaseError, match=words):
        load(multi_frame(tmp_path / "a.dcm", order))


def test_a_structure_set_can_name_single_slices_alone(tmp_path):
    (tmp_path / "frames").mkdir()
    multi_frame(tmp_path / "frames" / "a.dcm")
    write_series(tmp_path / "slices")
    assert is_series(tmp_path / "slices") and is_series(f"{tmp_path}?series=1.2")
    assert (
        not is_series(tmp_path / "frames") and not is_series(tmp_path / "frames" / "a.dcm") and not is_series(tmp_path)
    )


def test_several_multi_frame_files_of_a_folder_are_a_case_each(tmp_path):
    multi_frame(tmp_path / "a.dcm")
    multi_frame(tmp_path / "b.dcm", SHUFFLED)
    assert [case["case"] for case in find_cases(tmp_path, "volume")] == ["a", "b"]


@pytest.mark.parametrize("suffix", ["MHA", "NRRD", "NII.GZ", "NII"])
def test_suffixes_in_capitals(tmp_path, suffix):
    path = write_itk(tmp_path / f"a.{suffix.lower()}").rename(tmp_path / f"a.{suffix}")
    assert find_cases(tmp_path, "volume") == [{"image": str(path), "case": "a"}]
    np.testing.assert_array_equal(load(path).numpy(), volume())


@pytest.mark.parametrize("dtype", [">i2", ">f4"])
def test_big_endian_files(tmp_path, dtype):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(volume().astype(dtype), np.diag([2.0, 3, 4, 1]), header)
    nibabel.save(image, tmp_path / "a.nii")
    assert nibabel.load(tmp_path / "a.nii").header.endianness == ">"
    loaded = load(tmp_path / "a.nii")
    np.testing.assert_array_equal(loaded.numpy(), volume())


@pytest.mark.parametrize("zero", [1, 3])
def test_a_voxel_size_of_zero_is_refused(tmp_path, zero):
    path = write_itk(tmp_path / "a.nii")
    header = nibabel.load(path).header.copy()
    header["sform_code"], header["qform_code"] = 0, 1
    content = bytearray(path.read_bytes())
    header["pixdim"][zero] = 0
    content[:348] = header.binaryblock
    path.write_bytes(content)
    with pytest.raises(CaseError, match="says voxels of"):
        load(path)


def without_orientation(folder: Path, form: str) -> Path:
    if form == "nrrd":
        path = write_itk(folder / "a.nrrd")
        head, _, rest = path.read_bytes().partition(b"\n\n")
        lines = [line for line in head.split(b"\n") if not line.startswith((b"space", b"kinds"))]
        sizes = " ".join(f"{size:g}" for size in SPACING).encode()
        path.write_bytes(b"\n".join([*lines, b"spacings: " + sizes]) + b"\n\n" + rest)
        return path
    image = nibabel.Nifti1Image(volume(), None)
    image.header.set_zooms(SPACING)
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


@pytest.mark.parametrize("form", ["nifti", "nrrd"])
def test_an_orientation_that_is_not_known_is_never_guessed(tmp_path, form):
    path = without_orientation(tmp_path, form)
    with pytest.raises(CaseError, match="does not say which way its axes run.*--assume_orientation"):
        load(path)
    image = load(path, assume_orientation="LPS")
    np.testing.assert_array_equal(image.numpy(), volume())
    np.testing.assert_allclose(image.affine, np.diag([-0.7, -0.8, 2.5, 1]), atol=1e-6)
    assert case_facts(image)["orientation"] == "option" and "LPS was assumed" in case_facts(image)["warnings"][0]
    with pytest.raises(CaseError, match="no three directions"):
        load(path, assume_orientation="LLS")
    assert case_facts(load(write_itk(tmp_path / "b.nii.gz")))["orientation"] == "header"


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
