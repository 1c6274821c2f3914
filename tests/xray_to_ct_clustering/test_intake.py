"""X-rays of any size, position and polarity become the picture that the network was trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from bundles.xray_to_ct_clustering.scripts.data.rendering import scale_xrays
from bundles.xray_to_ct_clustering.scripts.intake import Options, Picture, read_view, usual_position
from bundles.xray_to_ct_clustering.scripts.render_pairs import write_dicom
from bundles.xray_to_ct_clustering.scripts.standard_view import (
    collimated,
    field,
    find_position,
    positions,
    resampled,
    standard_view,
    view_geometry,
)
from shared.drr.geometry import project_points
from shared.io.errors import CaseError
from shared.networks.clustering.biplanar import BiplanarGeometry
from shared.xray.pixel_size import on_detector
from tests.xray_to_ct_clustering.xrays import GEOMETRY, appearance, as_bytes, pair, write_pngs

KNOWN = Options(pixel_spacing=6.4, sdd=1800.0, orientation="as_is", absorbing="bright")


def test_a_rendered_pair_comes_back_as_it_was_trained_on(tmp_path):
    for index, (view, path) in enumerate(zip(("frontal", "lateral"), write_pngs(tmp_path), strict=True)):
        got = standard_view(read_view(path, view, KNOWN), GEOMETRY, appearance(), view)
        expected = scale_xrays(pair()[index])
        assert float((got.image - expected).abs().max()) < 0.02
        assert got.geometry == GEOMETRY and got.warnings == [] and got.facts["changed"] == []


def test_dicom_says_everything_itself(tmp_path):
    geometry = dataclasses.replace(
        GEOMETRY, sdd_mm=1500.0, source_to_isocenter_mm=1300.0, pixel_mm=GEOMETRY.isocenter_pixel_mm * 1500 / 1300
    )
    for view, projection in (("frontal", "PA"), ("lateral", "left")):
        path = tmp_path / f"{view}.dcm"
        write_dicom(pair()[0], geometry, view, "a", path)
        picture = read_view(path, view, Options())
        assert (picture.sdd_mm, picture.source_mm, picture.projection) == (1500.0, 1300.0, projection)
        assert picture.polarity_known and picture.orientation == "header" and picture.warnings == []
        got, *_ = view_geometry(picture, GEOMETRY, view)
        assert got.pixel_mm == pytest.approx(geometry.pixel_mm) and got.sdd_mm == 1500.0


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("directions", [["L", "F"], ["R", "F"], ["L", "H"], ["F", "L"], ["H", "R"]])
def test_orientation_and_polarity_of_a_header_are_undone(tmp_path, directions, interpretation):
    write_dicom(pair()[0], GEOMETRY, "frontal", "a", tmp_path / "a.dcm")
    data = pydicom.dcmread(tmp_path / "a.dcm")
    pixels = data.pixel_array
    pixels = pixels.T if directions[0] in "HF" else pixels
    horizontal, vertical = (1, 0) if directions[0] in "LR" else (0, 1)
    pixels = np.flip(pixels, horizontal) if "R" in directions else pixels
    pixels = np.flip(pixels, vertical) if "H" in directions else pixels
    del data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign
    data.PhotometricInterpretation, data.PatientOrientation = interpretation, directions
    stored = pixels.max() - pixels if interpretation == "MONOCHROME1" else pixels
    data.PixelData = np.ascontiguousarray(stored).astype(np.uint16).tobytes()
    data.save_as(tmp_path / "b.dcm")
    first, second = (read_view(tmp_path / name, "frontal", Options()) for name in ("a.dcm", "b.dcm"))
    assert second.orientation == "header" and np.abs(first.pixels - second.pixels).max() < 1e-3


def test_directions_that_do_not_fit_the_view_are_no_orientation():
    assert usual_position(np.zeros((2, 3)), ["A", "F"], "frontal") is None
    assert usual_position(np.zeros((2, 3)), ["L", "P"], "frontal") is None


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("inverted", [False, True])
def test_position_and_polarity_are_found(view, inverted):
    image = scale_xrays(pair()[view]).clamp(0, 1)
    covered, share = torch.ones_like(image, dtype=torch.bool), field(GEOMETRY, view)
    on_the_head = ("turned by 180°", "upside down") if view == 1 else ()
    for way, picture in positions(image).items():
        if way in on_the_head:
            continue  # a lateral is never turned over, see below
        shown = 1 - picture if inverted else picture
        found = find_position(shown, covered, share, appearance(), view, upright=False, polarity_known=False)
        # which side is left the frontal view does not always tell; then it has to say so
        same = torch.allclose(found.image, image, atol=1e-5)
        mirrored = torch.allclose(found.image, image.flip(1), atol=1e-5)
        assert same or (mirrored and not found.sided), (way, found.done)


@pytest.mark.parametrize("seed", [9000, 9001, 9002])
def test_a_frontal_picture_is_never_mirrored_by_its_looks(seed):
    image = scale_xrays(pair(seed)[0]).clamp(0, 1)
    covered, share = torch.ones_like(image, dtype=torch.bool), field(GEOMETRY, 0)
    for picture in (image, image.flip(1)):
        found = find_position(picture, covered, share, appearance(), 0, upright=False, polarity_known=True)
        assert found.done == [] and torch.equal(found.image, picture)


@pytest.mark.parametrize("seed", [9000, 9001, 9002])
def test_a_lateral_may_face_either_way_and_is_never_turned_over(seed):
    image = scale_xrays(pair(seed)[1]).clamp(0, 1)
    covered, share = torch.ones_like(image, dtype=torch.bool), field(GEOMETRY, 1)
    mirrored = find_position(image.flip(1), covered, share, appearance(), 1, upright=False, polarity_known=True)
    assert mirrored.done == ["mirrored"] and torch.equal(mirrored.image, image)
    for picture in (image.flip(0), image.flip(0, 1)):
        found = find_position(picture, covered, share, appearance(), 1, upright=False, polarity_known=True)
        assert set(found.done) <= {"mirrored"}
        assert torch.equal(found.image, picture) or torch.equal(found.image, picture.flip(1))


def test_the_user_mirrors_a_view(tmp_path):
    frontal, lateral = write_pngs(tmp_path)
    write_dicom(pair()[0], GEOMETRY, "frontal", "a", tmp_path / "a.dcm")
    for path in (frontal, tmp_path / "a.dcm"):
        plain, mirrored = (read_view(path, "frontal", Options(mirror=which)) for which in ("lateral", "both"))
        assert np.array_equal(plain.pixels[:, ::-1], mirrored.pixels) and mirrored.orientation == "option"
    assert read_view(lateral, "lateral", Options(mirror="frontal")).orientation == "unknown"
    got = standard_view(read_view(frontal, "frontal", Options(mirror="frontal")), GEOMETRY, appearance(), "frontal")
    assert got.orientation == "option" and not any("mirror image" in line for line in got.warnings)


def test_what_is_known_is_not_guessed():
    image = scale_xrays(pair()[0]).clamp(0, 1).flip(0)
    covered, share = torch.ones_like(image, dtype=torch.bool), field(GEOMETRY, 0)
    found = find_position(image, covered, share, appearance(), 0, upright=True, polarity_known=True)
    assert found.done == [] and torch.equal(found.image, image)


def test_a_point_lies_on_the_detector_where_it_lies_on_the_picture():
    geometry = BiplanarGeometry(rows=32, columns=32, pixel_mm=12.0)
    point = torch.tensor([[40.0, -20.0, 70.0]], dtype=torch.float64)
    fine = dataclasses.replace(geometry, rows=300, columns=200, pixel_mm=1.5)
    column, row = project_points(point, fine.poses()[:1], fine.detector())[0, 0].tolist()
    pixels = np.zeros((300, 200), np.float32)
    pixels[round(row) - 6 : round(row) + 7, round(column) - 6 : round(column) + 7] = 1
    image, covered = resampled(pixels, (1.5, 1.5), geometry)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centre = [float((image * axis).sum() / image.sum()) for axis in (columns, rows)]
    expected = project_points(point, geometry.poses()[:1], geometry.detector())[0, 0].tolist()
    assert centre == pytest.approx(expected, abs=0.1)
    assert covered[:, 16].all() and not covered[16, 0], "200 pixels of 1.5 mm are narrower than 32 of 12 mm"


def test_pixels_that_are_not_square_are_told_apart(tmp_path):
    image = Image.fromarray(as_bytes(pair()[0])).resize((64, 128))
    image.save(tmp_path / "a.png")
    options = dataclasses.replace(KNOWN, pixel_spacing=[3.2, 6.4])  # rows lie closer
    got = standard_view(read_view(tmp_path / "a.png", "frontal", options), GEOMETRY, appearance(), "frontal")
    assert float((got.image - scale_xrays(pair()[0])).abs().mean()) < 0.03


def test_a_picture_that_shows_more_than_the_volume_is_cut_to_it():
    share = field(GEOMETRY, 0)
    assert share[32, 32] == pytest.approx(1, abs=0.05) and share[0].max() < 0.02
    full, cut = collimated(torch.ones(64, 64), share)
    assert cut and torch.equal(full, share)
    image = scale_xrays(pair()[0])
    assert not collimated(image, share)[1]


def test_what_is_not_known_is_assumed_and_said(tmp_path):
    path, _ = write_pngs(tmp_path)
    got = standard_view(read_view(path, "frontal", Options()), GEOMETRY, appearance(), "frontal")
    said = " ".join(got.warnings)
    assert "pixel size is not known" in said and "1800 mm are assumed" in said
    assert got.pixel_size["from"] == "assumed: a picture 430 mm long" and got.facts["projection_source"] == "assumed"
    small = Options(pixel_spacing=1.0)
    assert "is its pixel size right" in " ".join(read_view(path, "frontal", small).warnings)


def test_distances_that_contradict_each_other_do_not_break_the_geometry():
    picture = Picture(np.zeros((4, 4)), on_detector((1.0, 1.0), "option"), sdd_mm=1000.0, source_mm=1200.0)
    geometry, *_ = view_geometry(picture, GEOMETRY, "frontal")
    assert 0 < geometry.source_to_isocenter_mm < geometry.sdd_mm == 1000.0
    assert geometry.isocenter_pixel_mm == pytest.approx(GEOMETRY.isocenter_pixel_mm)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mirror": "up"},
        {"absorbing": "green"},
        {"orientation": "left"},
        {"frontal_view": "up"},
        {"sdd": 5.0},
        {"pixel_spacing": -1.0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(CaseError, match=f"--{next(iter(wrong))}: is"):
        Options(**wrong)
