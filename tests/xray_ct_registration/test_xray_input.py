"""X-rays for registration: what absorbs is bright, and the geometry is that of the detector."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from bundles.xray_ct_registration.scripts.add_geometry import add_geometry
from bundles.xray_ct_registration.scripts.radiographs import LoadViews, registration_cases
from bundles.xray_ct_registration.scripts.xray_input import read_view
from shared.drr.geometry import Detector
from shared.io.cases import find_cases
from shared.io.errors import CaseError
from shared.io.itk_images import read_image
from shared.xray.attenuation import attenuation
from tests.xray_ct_registration.test_tools import write_dicom

GEOMETRY = {"DistanceSourceToDetector": 1020, "ImagerPixelSpacing": [0.3, 0.2]}


def detector_of(path, *args, **options) -> Detector:
    return read_view(path, *args, **options)[1]


def pixels_of(path, *args, **options) -> torch.Tensor:
    return torch.from_numpy(read_view(path, *args, **options)[0].pixels)


def ramp(image: torch.Tensor) -> bool:
    """Whether an image (rows, columns) rises to the right and downwards, as the test files do."""
    return bool((image[:, 0].diff() >= 0).all() and (image[0].diff() >= 0).all() and image.max() == 1)


def test_detector_and_pixels_of_a_dicom_file(tmp_path):
    xray, detector = read_view(write_dicom(tmp_path / "a.dcm", **GEOMETRY))
    assert detector == Detector(60, 50, (0.2, 0.3), 1020.0), "rows come first in DICOM"
    assert xray.pixels.shape == (60, 50) and xray.pixels.dtype == np.float32 and ramp(torch.from_numpy(xray.pixels))
    assert (xray.sources["sdd"], xray.pixel_size.source, xray.warnings) == ("header", "ImagerPixelSpacing", [])
    values = xray.pixels
    y, x = np.mgrid[:60, :50]
    inside = (values > 0.01) & (values < 0.99)
    assert np.corrcoef((30 * y + 20 * x)[inside], values[inside])[0, 1] > 0.9999


@pytest.mark.parametrize(
    "tags, absorbing",
    [
        ({}, "bright"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "dark"),
        ({"Modality": "XA"}, "dark"),
        ({"Modality": "XA", "PixelIntensityRelationship": "LIN"}, "intensity"),
        ({"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1}, "bright"),
        ({"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1}, "dark"),
        ({"PixelIntensityRelationship": "DISP"}, "bright"),
    ],
)
def test_what_absorbs_is_bright_after_reading(tmp_path, tags, absorbing):
    path = write_dicom(tmp_path / "a.dcm", **GEOMETRY, **tags)
    assert read_view(path)[0].absorbing == absorbing
    assert ramp(pixels_of(path)) == (absorbing == "bright")
    assert ramp(1 - pixels_of(path)) == (absorbing != "bright")
    assert ramp(pixels_of(path, absorbing="bright"))


def test_the_window_for_display_does_not_clip(tmp_path):
    plain = pixels_of(write_dicom(tmp_path / "a.dcm", **GEOMETRY))
    shown = pixels_of(write_dicom(tmp_path / "b.dcm", **GEOMETRY, WindowCenter=1000, WindowWidth=100))
    assert torch.equal(plain, shown)


def test_intensities_become_line_integrals():
    thickness = np.linspace(0, 5, 200).reshape(20, 10)
    result = attenuation(40000 * np.exp(-thickness), "intensity")
    inside = (result > 0.01) & (result < 0.99)
    np.testing.assert_allclose(np.polyfit(thickness[inside], result[inside], 1, full=True)[1], 0, atol=1e-8)
    assert attenuation(np.zeros((4, 4)) + np.eye(4), "intensity").max() == 1


def test_missing_geometry_is_refused_with_the_tool_that_adds_it(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", ImagerPixelSpacing=[0.2, 0.2])
    with pytest.raises(CaseError, match=r"no source-to-detector distance.*python -m scripts.add_geometry --input"):
        read_view(path)
    assert detector_of(path, sdd=1500).sdd == 1500
    path = write_dicom(tmp_path / "b.dcm", DistanceSourceToDetector=1000)
    with pytest.raises(CaseError, match=r"no pixel spacing.*scripts.add_geometry .* --pixel_spacing"):
        read_view(path)
    calibrated = write_dicom(
        tmp_path / "c.dcm",
        DistanceSourceToDetector=1000,
        PixelSpacing=[0.2, 0.2],
        PixelSpacingCalibrationType="FIDUCIAL",
    )
    with pytest.raises(CaseError, match="no pixel spacing on the detector"):
        read_view(calibrated)
    assert detector_of(calibrated, pixel_spacing=0.25).pixel_mm == (0.25, 0.25)
    pydicom_file = pydicom.dcmread(calibrated)
    pydicom_file.DistanceSourceToPatient = 800
    pydicom_file.save_as(calibrated)
    assert detector_of(calibrated).pixel_mm == pytest.approx((0.25, 0.25))


def test_pictures_need_their_geometry_as_arguments(tmp_path):
    pixels = (np.mgrid[:40, :70][1] * 3).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(CaseError, match="give --sdd and --pixel_spacing in mm"):
        read_view(tmp_path / "a.png")
    with pytest.raises(CaseError, match="give --pixel_spacing in mm"):
        read_view(tmp_path / "a.png", sdd=1000)
    xray, detector = read_view(tmp_path / "a.png", sdd=1000, pixel_spacing=[0.5, 0.4])
    assert detector == Detector(40, 70, (0.4, 0.5), 1000.0) and xray.sources["sdd"] == "option"
    assert ramp(torch.from_numpy(xray.pixels)) and ramp(1 - pixels_of(tmp_path / "a.png", 1000, 0.4, "dark"))
    image = sitk.GetImageFromArray(pixels.astype(np.float32))
    image.SetSpacing((0.4, 0.5))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert detector_of(tmp_path / "a.mha", sdd=1000) == detector


@pytest.mark.parametrize(
    "says, options",
    [
        ("--sdd: is 3", {"sdd": 3}),
        ("--pixel_spacing: is -1", {"sdd": 1000, "pixel_spacing": -1}),
        ("--pixel_spacing: is", {"sdd": 1000, "pixel_spacing": [0.1, 0.2, 0.3]}),
        ("--absorbing: is white", {"absorbing": "white"}),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, says, options):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(CaseError, match=says):
        read_view(tmp_path / "a.png", **options)


def test_what_is_no_radiograph_is_refused(tmp_path):
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(tmp_path / "blank.png")
    for path, says in (
        (tmp_path / "none.png", "no such file"),
        (tmp_path / "blank.png", "is blank"),
        (write_dicom(tmp_path / "ct.dcm", Modality="CT"), "is a CT slice"),
        (write_dicom(tmp_path / "cine.dcm", NumberOfFrames=3, **GEOMETRY), "holds 3 frames"),
    ):
        with pytest.raises(CaseError, match=says):
            read_view(path, sdd=1000, pixel_spacing=0.3)


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA names no folder of real images")
def test_a_real_chest_without_sdd_is_refused_and_after_the_tool_accepted(tmp_path):
    source = Path(os.environ["BUNDLES_DATA"]) / "xray" / "chest_cr_no_sdd.dcm"
    copy = Path(shutil.copy(source, tmp_path))
    with pytest.raises(CaseError, match=r"scripts.add_geometry --input .*chest_cr_no_sdd.dcm"):
        read_view(copy)
    xray, detector = read_view(add_geometry(str(copy), str(tmp_path / "b.dcm"), sdd=1800))
    assert detector == Detector(1024, 1024, (0.168, 0.168), 1800.0)
    assert np.array_equal(pydicom.dcmread(copy).pixel_array, pydicom.dcmread(tmp_path / "b.dcm").pixel_array)
    middle, corner = xray.pixels[400:600, 500:530].mean(), xray.pixels[:60, 200:260].mean()
    assert middle > 0.5 > corner, "the spine absorbs more than the air beside the neck"


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA names no folder of real images")
def test_a_real_ct_with_gantry_tilt_is_refused_with_the_reason():
    folder = Path(os.environ["BUNDLES_DATA"]) / "ct_dicom_tilted_ge"
    assert [item["image"] for item in find_cases(folder, "volume")] == [str(folder)]
    with pytest.raises(CaseError, match="gantry tilt of 18.5 degrees; correct the tilt first"):
        read_image(folder)


@pytest.mark.parametrize(
    "tags, says",
    [
        ({"DistanceSourceToDetector": 1.02, "ImagerPixelSpacing": [0.3, 0.2]}, r"is 1.02, .*metres, perhaps: 1020 mm"),
        ({"DistanceSourceToDetector": 102, "ImagerPixelSpacing": [0.3, 0.2]}, r"is 102.*centimetres, perhaps: 1020 mm"),
        ({"DistanceSourceToDetector": -1, "ImagerPixelSpacing": [0.3, 0.2]}, r"DistanceSourceToDetector is -1"),
        ({"DistanceSourceToDetector": 1020, "PixelSpacing": [0, 0]}, r"PixelSpacing is 0.*, which is no pixel size"),
        ({"DistanceSourceToDetector": 1020, "ImagerPixelSpacing": [-0.3, 0.2]}, r"ImagerPixelSpacing is -0.3"),
    ],
)
def test_a_geometry_that_cannot_be_is_named_and_an_option_mends_it(tmp_path, tags, says):
    path = write_dicom(tmp_path / "a.dcm", **tags)
    with pytest.raises(CaseError, match=f"a.dcm: .*{says}.*add it with .*add_geometry"):
        read_view(path)
    xray, detector = read_view(path, sdd=1020, pixel_spacing=[0.3, 0.2])
    assert detector == Detector(60, 50, (0.2, 0.3), 1020.0)
    assert any(re.search(says, line) for line in xray.warnings)


def test_a_c_arm_tells_its_pose(tmp_path):
    tags = {"DistanceSourceToPatient": 700, "PositionerPrimaryAngle": 30, "PositionerSecondaryAngle": 0}
    path = write_dicom(tmp_path / "a.dcm", **GEOMETRY, **tags)
    pose = torch.tensor(LoadViews()({"image": str(path)})["image"].meta["intake"][0]["c_arm_camera_to_world"])
    torch.testing.assert_close(pose[:3, 3], 700 * torch.tensor([0.5, -(0.75**0.5), 0.0]), atol=1e-3, rtol=0)
    plain = write_dicom(tmp_path / "b.dcm", **GEOMETRY)
    assert LoadViews()({"image": str(plain)})["image"].meta["intake"][0]["c_arm_camera_to_world"] is None


def test_the_side_car_of_another_image_is_not_taken(tmp_path):
    pixels = (np.mgrid[:40, :70][1] * 3).astype(np.uint8)
    for name in ("p01.a.png", "p01.frontal.v2.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    near = {"rows": 40, "columns": 70, "mm_per_pixel": [0.4, 0.4], "sdd": 900, "principal_point_offset_mm": [0, 0]}
    (tmp_path / "p01_geometry.json").write_text(json.dumps(near))
    load = LoadViews()
    for name in ("p01.a", "p01.frontal.v2"):
        with pytest.raises(CaseError, match=f"{name}.png: .*or a file {name}_geometry.json beside it"):
            load({"image": str(tmp_path / f"{name}.png")})
        own = near | {"sdd": 1000, "principal_point_offset_mm": [5, -3]}
        (tmp_path / f"{name}_geometry.json").write_text(json.dumps(own))
        meta = load({"image": str(tmp_path / f"{name}.png")})["image"].meta
        assert meta["views"][0].detector == Detector(40, 70, (0.4, 0.4), 1000.0, (5.0, -3.0))
        assert meta["intake"][0]["pixel_size"]["from"] == "side car"


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda m: m.__setitem__((3, 3), 2.0), "has another last row than 0 0 0 1"),
        (lambda m: m.__setitem__((0, 0), 1.5), "is not rigid"),
        (lambda m: m.__setitem__((0, 0), -1.0), "mirrors"),
        (lambda m: m.__setitem__((0, 3), float("nan")), "not finite"),
        (None, r"names .*b.png, which is no file"),
    ],
)
def test_a_list_of_views_that_cannot_be_is_refused(tmp_path, change, says):
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(tmp_path / "a.png")
    if change is not None:
        Image.fromarray(np.eye(40, dtype=np.uint8)).save(tmp_path / "b.png")
    matrix = np.eye(4)
    if change is not None:
        change(matrix)
    views = [{"image": n, "camera_to_first": m.tolist()} for n, m in (("a.png", np.eye(4)), ("b.png", matrix))]
    (tmp_path / "views.json").write_text(json.dumps({"views": views}))
    with pytest.raises(CaseError, match=f"views.json: .*{says}"):
        registration_cases(tmp_path)


def test_a_mask_by_file_leaves_part_of_the_x_ray_out(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (60, 50)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "masks").mkdir()
    counts = np.full((60, 50), 255, dtype=np.uint8)
    counts[20:40, 10:30] = 0
    Image.fromarray(counts).save(tmp_path / "masks" / "a_mask.png")
    case = {"image": str(tmp_path / "a.png"), "case": "a"}
    geometry = {"sdd": 1000.0, "pixel_spacing": 0.5}
    whole = LoadViews(**geometry)(case)["image"].meta["views"][0].mask
    for given in (tmp_path / "masks", tmp_path / "masks" / "a_mask.png"):
        mask = LoadViews(**geometry, xray_mask=given)(case)["image"].meta["views"][0].mask
        assert float(mask[..., 20:40, 10:30].max()) == 0 < float(whole[..., 20:40, 10:30].min())
        assert torch.equal(mask[..., 40:, :], whole[..., 40:, :])
    Image.fromarray(counts[:30]).save(tmp_path / "masks" / "a_mask.png")
    with pytest.raises(CaseError, match="30 x 50 pixels for an X-ray of 60 x 50"):
        LoadViews(**geometry, xray_mask=tmp_path / "masks")(case)
    with pytest.raises(CaseError, match="no such mask"):
        LoadViews(**geometry, xray_mask=tmp_path / "nowhere")
