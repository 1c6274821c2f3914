"""One rule for the size of the pixels: every combination of attributes that files have."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from shared.xray.header import Header
from shared.xray.pixel_size import header_pixel_size

DISTANCES = {"DistanceSourceToDetector": 1200, "DistanceSourceToPatient": 1000}
FACTOR = {"EstimatedRadiographicMagnificationFactor": 1.25}
CALIBRATED = {"PixelSpacing": [0.2, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"}

BOTH = {"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.24, 0.24]}


def header(tags: dict[str, object]) -> Header:
    data = Dataset()
    for keyword, value in tags.items():
        if isinstance(value, str) and keyword not in ("PixelSpacingCalibrationType",):
            tag = Dataset()
            setattr(tag, keyword, None)
            data.add_new(next(iter(tag.keys())), "LO", value.split("\\") if "\\" in value else value)
        else:
            setattr(data, keyword, value)
    return Header(data)


@pytest.mark.parametrize(
    ("tags", "source", "mm", "detector", "magnification"),
    [
        # on the detector, magnification unknown
        ({"ImagerPixelSpacing": [0.2, 0.1]}, "ImagerPixelSpacing", (0.1, 0.2), (0.1, 0.2), None),
        ({"PixelSpacing": [0.2, 0.1]}, "PixelSpacing", (0.1, 0.2), (0.1, 0.2), None),
        ({"NominalScannedPixelSpacing": [0.2, 0.1]}, "NominalScannedPixelSpacing", (0.1, 0.2), (0.1, 0.2), None),
        # on the detector, magnification by the distances or the factor
        ({"ImagerPixelSpacing": [0.24, 0.12], **DISTANCES}, "ImagerPixelSpacing", (0.1, 0.2), (0.12, 0.24), 1.2),
        ({"ImagerPixelSpacing": [0.25, 0.125], **FACTOR}, "ImagerPixelSpacing", (0.1, 0.2), (0.125, 0.25), 1.25),
        ({"PixelSpacing": [0.24, 0.12], **DISTANCES}, "PixelSpacing", (0.1, 0.2), (0.12, 0.24), 1.2),
        # both alike: not calibrated
        (
            {"ImagerPixelSpacing": [0.24, 0.24], "PixelSpacing": [0.24, 0.24], **DISTANCES},
            "ImagerPixelSpacing",
            (0.2, 0.2),
            (0.24, 0.24),
            1.2,
        ),
        # calibrated: by its own word, or because it is smaller
        (CALIBRATED, "PixelSpacing", (0.1, 0.2), None, None),
        ({**CALIBRATED, **DISTANCES}, "PixelSpacing", (0.1, 0.2), (0.12, 0.24), 1.2),
        (
            {"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.24, 0.24]},
            "PixelSpacing",
            (0.2, 0.2),
            (0.24, 0.24),
            1.2,
        ),
        (
            {"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.24, 0.24], **DISTANCES},
            "PixelSpacing",
            (0.2, 0.2),
            (0.24, 0.24),
            1.2,
        ),
    ],
)
def test_what_the_attributes_say(tags, source, mm, detector, magnification):
    found = header(tags)
    size = header_pixel_size(found)
    assert size.source == source and size.mm == pytest.approx(mm)
    assert size.detector_mm == (None if detector is None else pytest.approx(detector))
    assert size.magnification == (None if magnification is None else pytest.approx(magnification))
    assert (size.magnification is None) == (size.magnification_source == "unknown")
    assert found.warnings == []
    content = size.content()
    assert set(content) == {"mm", "from", "detector_mm", "magnification", "magnification_from"}


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"PixelSpacing": ["0", "0"]}, "PixelSpacing is 0\\0, which is no pixel size"),
        ({"PixelSpacing": ["-0.2", "0.2"]}, "PixelSpacing is -0.2\\0.2, which is no pixel size"),
        ({"ImagerPixelSpacing": "0.2\\abc"}, "ImagerPixelSpacing is 0.2\\abc, which is no pixel size"),
        ({"ImagerPixelSpacing": "0.2,0.2"}, "ImagerPixelSpacing is 0.2,0.2, which is no pixel size"),
        ({"PixelSpacing": 0.2}, "PixelSpacing is 0.2, which is no pixel size"),
        ({"NominalScannedPixelSpacing": [200, 200]}, "NominalScannedPixelSpacing is 200"),
    ],
)
def test_a_spacing_that_cannot_be_is_unknown_and_named(tags, says):
    found = header(tags)
    assert header_pixel_size(found) is None
    assert len(found.warnings) == 1 and found.warnings[0].startswith(says)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.02, "metres, perhaps: 1020 mm"),
        (1.8, "metres, perhaps: 1800 mm"),
        (102, "centimetres, perhaps: 1020 mm"),
        (-1000, "no distance in mm"),
        ("1m", "is 1m, which is no distance"),
        (99999, "no distance in mm"),
    ],
)
def test_a_distance_that_cannot_be_is_named_for_what_it_is(value, says):
    found = header(
        {"DistanceSourceToDetector": value, "ImagerPixelSpacing": [0.2, 0.2], "DistanceSourceToPatient": 800}
    )
    assert found.sdd() is None and header_pixel_size(found).magnification is None
    assert any(says in line for line in found.warnings)


def test_what_contradicts_is_said():
    larger = header({"PixelSpacing": [0.4, 0.4], "ImagerPixelSpacing": [0.2, 0.2]})
    assert header_pixel_size(larger).detector_mm == (0.4, 0.4) and "was reduced, perhaps" in larger.warnings[0]
    other = header({"PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.24, 0.24], **DISTANCES})
    assert header_pixel_size(other).mm == (0.15, 0.15) and "another factor" in other.warnings[0]
    factor = header({"ImagerPixelSpacing": [0.3, 0.3], **DISTANCES, **FACTOR})
    assert header_pixel_size(factor).magnification == 1.25 and "the distances give 1.2" in factor.warnings[0]
    behind = header({"ImagerPixelSpacing": [0.3, 0.3], **DISTANCES, "DistanceSourceToPatient": 1300})
    assert header_pixel_size(behind).magnification is None and "which cannot be" in behind.warnings[0]
    no_factor = header({"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 0.5})
    assert header_pixel_size(no_factor).mm == (0.3, 0.3) and "which is no magnification" in no_factor.warnings[0]
