"""The geometry file beside an image: which one, what it holds, and whether it fits."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from shared.io.errors import CaseError
from shared.xray.intake import Given, read_xray
from shared.xray.reader import read_radiograph
from shared.xray.side_car import read_side_car, side_car_path
from tests.xray.test_reader import write_dicom

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)  # rows, columns
CONTENT = {"rows": 40, "columns": 60, "mm_per_pixel": [0.4, 0.5], "sdd": 1000.0}


def write(path, **more):
    path.write_text(json.dumps(CONTENT | more))
    return path


@pytest.mark.parametrize(
    "image, beside",
    [
        ("p01.a.png", "p01.a_geometry.json"),
        ("p01.frontal.v2.png", "p01.frontal.v2_geometry.json"),
        ("p01.nii.gz", "p01_geometry.json"),
        ("P 01.PNG", "P 01_geometry.json"),
        ("1.2.840.5", "1.2.840.5_geometry.json"),
        ("a.dcm", "a_geometry.json"),
    ],
)
def test_the_side_car_has_the_full_name_of_the_image(tmp_path, image, beside):
    assert side_car_path(tmp_path / image) == tmp_path / beside
    write(tmp_path / "p01_geometry.json", mm_per_pixel=[9.0, 9.0])  # that of another image, but for p01.nii.gz
    write(tmp_path / beside)
    assert read_side_car(tmp_path / image, (40, 60)).detector_mm == (0.4, 0.5)


def test_that_of_a_shorter_name_is_not_taken(tmp_path):
    write(tmp_path / "p01_geometry.json")
    for name in ("p01.a.png", "p01.frontal.v2.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
        assert read_side_car(tmp_path / name, (40, 60)) is None
        assert read_xray(tmp_path / name).pixel_size is None and read_radiograph(tmp_path / name).pixel_size is None


@pytest.mark.parametrize(
    "more, says",
    [
        ({"rows": 60, "columns": 40}, "is for a picture of 60 x 40 pixels, a.png has 40 x 60"),
        ({"columns": 61}, "is for a picture of 40 x 61 pixels"),
        ({"mm_per_pixel": [0, 0.5]}, r"has \[0, 0.5\] as mm_per_pixel"),
        ({"mm_per_pixel": 0.4}, "has 0.4 as mm_per_pixel"),
        ({"mm_per_pixel": ["a", 0.5]}, "has .* as mm_per_pixel"),
        ({"sdd": 1.02}, "has 1.02 as sdd"),
        ({"sdd": "far"}, "has far as sdd"),
        ({"sod": 1200}, "has a sod of 1200 mm with an sdd of 1000 mm"),
        ({"principal_point_offset_mm": [1]}, "has .* as principal_point_offset_mm"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, more, says):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    write(tmp_path / "a_geometry.json", **more)
    for read in (read_xray, read_radiograph):
        with pytest.raises(CaseError, match=f"a_geometry.json: {says}"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("text", ["no json", "[1]", "{}"])
def test_what_is_no_geometry_is_refused(tmp_path, text):
    (tmp_path / "a_geometry.json").write_text(text)
    with pytest.raises(CaseError, match="a_geometry.json: "):
        read_side_car(tmp_path / "a.png", (40, 60))


def test_option_side_car_header_in_this_order(tmp_path):
    tags = {"ImagerPixelSpacing": [0.3, 0.2], "DistanceSourceToDetector": 900}
    path = write_dicom(tmp_path / "a.dcm", PIXELS.T.astype(np.uint16), **tags)
    header = read_xray(path)
    assert (header.pixel_size.detector_mm, header.sdd, header.sources["sdd"]) == ((0.2, 0.3), 900, "header")
    assert header.warnings == []
    write(tmp_path / "a_geometry.json", sod=800)
    beside = read_xray(path)
    assert (beside.pixel_size.source, beside.pixel_size.detector_mm, beside.sdd) == ("side car", (0.4, 0.5), 1000)
    assert beside.pixel_size.mm == pytest.approx((0.32, 0.4)) and beside.pixel_size.magnification == 1.25
    assert len(beside.warnings) == 2 and all("a_geometry.json gives" in line for line in beside.warnings)
    assert read_radiograph(path).pixel_size.mm == pytest.approx((0.32, 0.4))
    option = read_xray(path, Given(pixel_spacing=[0.7, 0.6], sdd=1100))
    assert (option.pixel_size.detector_mm, option.sdd) == ((0.6, 0.7), 1100)
    assert option.sources == {"sdd": "option", "sod": "side car"}
    assert any("the option gives a source-to-detector distance of 1100 mm" in line for line in option.warnings)


def test_the_pixel_size_of_a_nifti_is_that_of_its_axes_wherever_they_point(tmp_path):
    for name, axes in (("axial", (0, 1)), ("sagittal", (1, 2)), ("coronal", (0, 2))):
        affine = np.zeros((4, 4))
        affine[axes[0], 0], affine[axes[1], 1], affine[3 - sum(axes), 2], affine[3, 3] = 0.15, 0.25, 1, 1
        nibabel.save(nibabel.Nifti1Image(PIXELS.T[..., None].astype(np.float32), affine), tmp_path / f"{name}.nii.gz")
        assert read_radiograph(tmp_path / f"{name}.nii.gz").pixel_size.mm == pytest.approx((0.15, 0.25))
        assert read_xray(tmp_path / f"{name}.nii.gz").pixel_size.mm == pytest.approx((0.15, 0.25))


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_the_resolution_of_a_picture_is_not_believed(tmp_path, suffix):
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}", dpi=(300, 300))
    assert read_radiograph(tmp_path / f"a.{suffix}").pixel_size is None
    assert read_xray(tmp_path / f"a.{suffix}").pixel_size is None
