"""Radiographs of every format: values, orientation, pixel size, refusals."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Flipd,
    LoadImaged,
    Resized,
    Rotate90d,
    SpatialCropd,
    SpatialPadd,
    Zoomd,
)
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from shared.io.cases import find_cases
from shared.io.dicom import lacks_decoder
from shared.io.errors import CaseError
from shared.xray.intake import read_xray
from shared.xray.reader import XrayReader, exif_matrix

SHAPE = (48, 60)  # X, Y


def picture(maximum: int = 255, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """(X, Y) without any symmetry."""
    x, y = np.meshgrid(np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1]), indexing="ij")
    return np.round(maximum * (0.6 * x + 0.3 * y**2 + 0.1 * np.sin(9 * x * y) ** 2))


def load(path: Path, **kwargs) -> MetaTensor:
    return LoadImaged("image", reader=XrayReader, **kwargs)({"image": str(path)})["image"]


def pixel_size(image: MetaTensor) -> dict | None:
    return json.loads(image.meta["intake"])["pixel_size"]


def write_dicom(path: Path, stored: np.ndarray, **tags) -> Path:
    """A DICOM radiograph of stored values (X, Y) with tags set, those of value None removed."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.Columns, data.Rows = stored.shape
    data.PixelData = stored.T.astype(np.uint16).tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def write_itk(path: Path, array: np.ndarray, spacing=(0.2, 0.3), direction=None) -> Path:
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing(spacing)
    image.SetOrigin([5.0, -7.0, 2.0][: array.ndim])
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_eight_bit_pictures_are_read_exactly(tmp_path, suffix):
    Image.fromarray(picture().T.astype(np.uint8)).save(tmp_path / f"a.{suffix}")
    image = load(tmp_path / f"a.{suffix}")
    assert image.dtype == torch.float32 and tuple(image.shape) == SHAPE
    np.testing.assert_array_equal(image.numpy(), picture())
    assert pixel_size(image) is None and image.meta["photometric"] == "MONOCHROME2"
    assert str(image.meta["filename_or_obj"]) == str(tmp_path / f"a.{suffix}")


def test_jpeg_under_a_wrong_suffix_is_read(tmp_path):
    Image.fromarray(picture().T.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    os.rename(tmp_path / "a.jpg", tmp_path / "a.png")
    assert np.abs(load(tmp_path / "a.png").numpy() - picture()).max() < 8


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    Image.fromarray(picture(65535).T.astype(np.uint16)).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(load(tmp_path / f"a.{suffix}").numpy(), picture(65535))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colours_become_grey_and_transparency_is_dropped(tmp_path, mode):
    image = Image.fromarray(picture().T.astype(np.uint8)).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(7)
    image.save(tmp_path / "a.png")
    np.testing.assert_allclose(load(tmp_path / "a.png").numpy(), picture(), atol=0.01)


def test_a_colour_picture_is_refused_but_a_few_coloured_marks_are_not(tmp_path):
    grey = np.repeat(picture().T.astype(np.uint8)[..., None], 3, axis=2)
    marked, colourful = grey.copy(), grey.copy()
    marked[2:4, 2:4] = 255, 0, 0
    colourful[: len(grey) // 2, :, 2] = 255 - colourful[: len(grey) // 2, :, 2]
    Image.fromarray(marked).save(tmp_path / "marked.png")
    Image.fromarray(colourful).save(tmp_path / "colourful.png")
    assert load(tmp_path / "marked.png").shape == SHAPE
    with pytest.raises(CaseError, match="colour picture"):
        load(tmp_path / "colourful.png")


def test_a_mha_with_three_channels_becomes_grey(tmp_path):
    image = sitk.GetImageFromArray(np.repeat(picture().T.astype(np.uint8)[..., None], 3, axis=2), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    np.testing.assert_allclose(load(tmp_path / "a.mha").numpy(), picture(), atol=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_turns_the_picture_and_the_affine_leads_back_to_the_file(tmp_path, orientation, suffix):
    stored = picture()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored.T.astype(np.uint8)).save(tmp_path / f"a.{suffix}", exif=exif, quality=100)
    image = load(tmp_path / f"a.{suffix}")
    assert tuple(image.shape) == (SHAPE if orientation < 5 else SHAPE[::-1])
    to_file = np.linalg.inv(image.meta["original_affine"]) @ image.affine.numpy()
    np.testing.assert_allclose(to_file, exif_matrix(orientation, image.shape), atol=1e-9)
    for index in ((0, 0), (image.shape[0] - 1, 0), (7, 11)):
        x, y = (to_file @ [*index, 0, 1])[:2].round().astype(int)
        assert abs(image[index] - stored[x, y]) < 6
    np.testing.assert_array_equal(image.meta["spatial_shape"], SHAPE)


def test_dicom_is_shown_as_a_viewer_does(tmp_path):
    stored = picture(4000)
    image = load(write_dicom(tmp_path / "a.dcm", stored, PixelSpacing=[0.3, 0.2], RescaleSlope=2, RescaleIntercept=-5))
    np.testing.assert_allclose(image.numpy(), 2 * stored - 5)
    np.testing.assert_allclose(np.abs(np.diag(image.affine)), [0.2, 0.3, 1, 1])
    assert pixel_size(image)["from"] == "PixelSpacing" and pixel_size(image)["mm"] == [0.2, 0.3]

    inverted = load(write_dicom(tmp_path / "b", stored, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(inverted.numpy(), stored.max() + stored.min() - stored)
    assert inverted.meta["photometric"] == "MONOCHROME1" and pixel_size(inverted) is None

    window = load(write_dicom(tmp_path / "c.dcm", stored, WindowCenter=2000, WindowWidth=1000)).numpy()
    assert (window[stored < 1490] == window.min()).all() and (window[stored > 2510] == window.max()).all()
    beside = load(write_dicom(tmp_path / "d.dcm", stored, WindowCenter=9000, WindowWidth=10)).numpy()
    np.testing.assert_allclose(beside, stored)


@pytest.mark.filterwarnings("ignore")
def test_a_compression_that_pydicom_cannot_decode_is_left_to_itk(tmp_path):
    image = sitk.GetImageFromArray(picture(4000).T.astype(np.uint16)[None])
    image.SetMetaData("0008|0060", "DX")
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")  # lossless
    writer.Execute(image)
    assert lacks_decoder(pydicom.dcmread(tmp_path / "a.dcm"))
    np.testing.assert_array_equal(load(tmp_path / "a.dcm").numpy(), picture(4000))
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:-400])
    with pytest.raises(CaseError, match="cut off"):
        load(tmp_path / "cut.dcm")


def test_dicom_padding_becomes_the_background(tmp_path):
    stored = picture(3000) + 100
    stored[:10] = 4095
    image = load(
        write_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1")
    ).numpy()
    assert (image[:10] == image.min()).all() and image[10:].max() == stored[10:].max()


def test_spacing_on_the_detector_is_brought_to_the_patient(tmp_path):
    image = load(
        write_dicom(
            tmp_path / "a.dcm", picture(4000), ImagerPixelSpacing=[0.3, 0.2], EstimatedRadiographicMagnificationFactor=2
        )
    )
    np.testing.assert_allclose(np.abs(np.diag(image.affine))[:2], [0.1, 0.15])
    assert pixel_size(image)["from"] == "ImagerPixelSpacing" and pixel_size(image)["magnification"] == 2


@pytest.mark.parametrize("suffix", ["mha", "nii.gz", "nrrd", "nii"])
def test_image_files_keep_their_axes_and_agree_on_the_world(tmp_path, suffix):
    path = write_itk(tmp_path / f"a.{suffix}", picture().astype(np.float32))
    image = load(path)
    np.testing.assert_array_equal(image.numpy(), picture())
    assert pixel_size(image)["from"] == "file"
    reference = sitk.ReadImage(str(path))
    world = (image.affine.numpy() @ [3, 4, 0, 1])[:2] * [-1, -1]
    np.testing.assert_allclose(world, reference.TransformContinuousIndexToPhysicalPoint([3.0, 4.0]), atol=1e-4)


@pytest.mark.parametrize("thin", [0, 1, 2])
@pytest.mark.parametrize("suffix", ["mha", "nii.gz"])
def test_a_volume_of_one_slice_is_a_radiograph(tmp_path, thin, suffix):
    array = np.expand_dims(picture().astype(np.float32), thin)
    path = write_itk(tmp_path / f"a.{suffix}", array, (0.2, 0.3, 0.4), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    image = load(path)
    np.testing.assert_array_equal(image.numpy(), picture())
    index = np.insert([3.0, 4.0], thin, 0)
    expected = sitk.ReadImage(str(path)).TransformContinuousIndexToPhysicalPoint(index.tolist())
    np.testing.assert_allclose((image.affine.numpy() @ [3, 4, 0, 1])[:3] * [-1, -1, 1], expected, atol=1e-4)


def test_a_pixel_of_one_millimetre_is_unknown(tmp_path):
    image = load(write_itk(tmp_path / "a.mha", picture().astype(np.float32), (1.0, 1.0)))
    assert pixel_size(image) is None


def test_one_place_in_the_world_in_all_formats(tmp_path):
    """The same pixels as PNG, as DICOM and as MHA share the directions of their axes."""
    Image.fromarray(picture().T.astype(np.uint8)).save(tmp_path / "a.png")
    write_dicom(tmp_path / "a.dcm", picture())
    sitk.WriteImage(sitk.GetImageFromArray(picture().T), str(tmp_path / "a.mha"))
    for name in ("a.png", "a.dcm", "a.mha"):
        np.testing.assert_allclose(load(tmp_path / name).affine, np.diag([-1, -1, 1, 1]))


def test_transforms_lead_back_to_the_file(tmp_path):
    """A bright pixel is found again through resizing, turning, cropping and padding."""
    values = np.zeros((96, 120))
    values[60:64, 30:34] = 200  # its centre is (61.5, 31.5)
    values[0, 0] = 9
    path = write_dicom(tmp_path / "a.dcm", values, PixelSpacing=[0.3, 0.2])
    chain = Compose(
        [
            LoadImaged("image", reader="shared.xray.reader.XrayReader"),
            EnsureChannelFirstd("image"),
            SpatialCropd("image", roi_start=(8, 4), roi_end=(96, 110)),
            Rotate90d("image", k=1),
            Flipd("image", spatial_axis=0),
            SpatialPadd("image", (140, 120)),
            Resized("image", (280, 360)),
            Zoomd("image", 0.5, keep_size=False),
        ]
    )
    image = chain({"image": str(path)})["image"]
    weights = image[0].numpy() * (image[0].numpy() > 100)
    centre = [float((weights.sum(axis=1 - axis) * np.arange(size)).sum() / weights.sum())
              for axis, size in enumerate(weights.shape)]  # fmt: skip
    to_file = np.linalg.inv(image.meta["original_affine"]) @ image.affine.numpy()
    np.testing.assert_allclose((to_file @ [*centre, 0, 1])[:2], [61.5, 31.5], atol=0.35)


def save_png(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array.T.astype(np.uint8)).save(path)
    return path


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Every kind of unusable file with the words that its line has to hold."""
    files = {}

    def add(words: str, path: Path) -> None:
        files[f"{path.name}: {words}"] = (path, words)

    def write(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    for name in ("text.png", "text.jpg", "text.tif"):
        add("is no image", write(name, b"this is text, " * 20))
    add("is no whole NIfTI file", write("text.nii.gz", b"this is text, " * 20))
    add("is no whole image file", write("text.mha", b"this is text, " * 20))
    add("DICOM", write("text.dcm", b"this is text, " * 20))
    add("is no image", write("empty.png", b""))
    for suffix, name in (("jpeg", "JPEG"), ("png", "PNG"), ("bmp", "BMP"), ("tiff", "TIFF")):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(buffer, name)
        add("is cut off or damaged", write(f"cut.{suffix}", buffer.getvalue()[: len(buffer.getvalue()) // 2]))
    add("is blank", save_png(folder / "black.png", np.zeros(SHAPE)))
    add("is blank", save_png(folder / "white.png", np.full(SHAPE, 255)))
    add("fewer than 32", save_png(folder / "tiny.png", picture(shape=(16, 16))))
    add("times as long as wide", save_png(folder / "long.png", picture(shape=(2000, 32))))
    nan = picture().astype(np.float32)
    nan[3, 4] = np.nan
    add("1 of 2880 values that are NaN", write_itk(folder / "nan.nii.gz", nan))
    add("is a volume of 48 x 60 x 3", write_itk(folder / "volume.nii.gz", np.stack([picture()] * 3, 2), (1, 1, 1)))
    add("holds no pixels", write_dicom(folder / "report.dcm", picture(), PixelData=None, Modality="SR"))
    two = np.stack([picture().T] * 2).astype(np.uint16).tobytes()
    add("holds 2 frames", write_dicom(folder / "frames.dcm", picture(), NumberOfFrames=2, PixelData=two))
    add("a CT slice", write_dicom(folder / "ct.dcm", picture(), Modality="CT", SOPClassUID=CTImageStorage))
    add("cannot be decoded", write_dicom(folder / "cut.dcm", picture(), PixelData=b"\1" * 100))
    frames = [Image.fromarray(picture().T.astype(np.uint8))] * 2
    frames[0].save(folder / "pages.tif", save_all=True, append_images=frames[1:])
    add("holds 2 pages", folder / "pages.tif")
    image = nibabel.Nifti1Image(picture().astype(np.complex64), np.eye(4))
    nibabel.save(image, folder / "complex.nii")
    add("complex", folder / "complex.nii")
    return files


def test_what_cannot_be_processed_gets_one_line_with_file_problem_and_advice(tmp_path):
    for path, words in bad_files(tmp_path).values():
        with pytest.raises(CaseError) as error:
            load(path)
        line = str(error.value)
        assert line.startswith(f"{path}: ") and words in line and "; " in line, line


def test_a_jpeg_cut_anywhere_is_refused(tmp_path):
    buffer = io.BytesIO()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (128, 128), dtype=np.uint8)).save(buffer, "JPEG", progressive=True)
    for name, content in (("progressive", buffer.getvalue()),):
        for fraction in (0.2, 0.5, 0.8, 0.9, 0.97):
            (tmp_path / f"{name}.jpg").write_bytes(content[: int(fraction * len(content))])
            with pytest.raises(CaseError, match="cut off"):
                XrayReader().get_data(tmp_path / f"{name}.jpg")


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA names no folder of real images")
def test_a_real_chest_radiograph():
    path = Path(os.environ["BUNDLES_DATA"]) / "xray" / "chest_cr_no_sdd.dcm"
    image = load(path)
    assert tuple(image.shape) == (1024, 1024) and pixel_size(image)["from"] == "PixelSpacing"
    np.testing.assert_allclose(np.abs(np.diag(image.affine))[:2], 0.168)
    # Lungs are darker than the middle of the chest.
    assert image[250:350, 400:600].mean() < image[480:540, 400:600].mean()


@pytest.mark.parametrize("kind", ["int16", "float32", "float64"])
def test_big_endian_files_are_read(tmp_path, kind):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(kind).newbyteorder(">"))
    affine = np.diag([0.2, 0.3, 1, 1])
    nibabel.save(nibabel.Nifti1Image(picture().astype(kind)[..., None], affine, header), tmp_path / "a.nii.gz")
    assert nibabel.load(tmp_path / "a.nii.gz").header.endianness == ">"
    image = load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.numpy(), picture())
    assert pixel_size(image)["mm"] == pytest.approx([0.2, 0.3])
    found = read_xray(tmp_path / "a.nii.gz")
    assert np.corrcoef(found.pixels.T.ravel(), picture().ravel())[0, 1] > 0.99


@pytest.mark.parametrize("implicit", [True, False])
def test_dicom_without_preamble_and_suffix_is_found_and_read(tmp_path, implicit):
    whole = pydicom.dcmread(write_dicom(tmp_path / "whole.dcm", picture(4000), PixelSpacing=[0.3, 0.2]))
    folder = tmp_path / "scans"
    folder.mkdir()
    plain = Dataset({element.tag: element for element in whole})
    for name in ("IM0001", "1.2.840.10008.5"):
        plain.save_as(folder / name, implicit_vr=implicit, little_endian=True)
        assert (folder / name).read_bytes()[128:132] != b"DICM"
    cases = find_cases(folder, "xray")
    assert [case["case"] for case in cases] == ["1.2.840.10008.5", "IM0001"]
    for case in cases:
        image = load(Path(case["image"]))
        np.testing.assert_array_equal(image.numpy(), picture(4000))
        assert pixel_size(image)["mm"] == [0.2, 0.3]
        assert read_xray(case["image"]).pixel_size.detector_mm == (0.2, 0.3)
