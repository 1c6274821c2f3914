"""Evidence against a result, and what inference says about X-rays that it should not trust."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pydicom
import pytest
import torch
from PIL import Image

from bundles.xray_to_ct_clustering.scripts.appearance import Appearance
from bundles.xray_to_ct_clustering.scripts.evidence import EvidenceLimits, row_agreement, row_profiles
from bundles.xray_to_ct_clustering.scripts.render_pairs import write_dicom
from bundles.xray_to_ct_clustering.scripts.transforms import LoadXrayPaird
from bundles.xray_to_ct_clustering.scripts.xray_pairs import find_pairs
from shared.io.errors import CaseError
from shared.networks.clustering.biplanar import BiplanarGeometry
from tests.xray_to_ct_clustering.xrays import GEOMETRY, appearance, as_bytes, pair, write_pngs

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "xray_to_ct_clustering"
LIMITS = EvidenceLimits()
LIKE = (0.95, 0.95)  # similarities of a volume that shows what the X-rays show


def load(folder: Path, frontal: Path, lateral: Path, **options) -> dict:
    """The intake of a pair of files."""
    transform = LoadXrayPaird("image", GEOMETRY, appearance(), **{"pixel_spacing": 6.4, "sdd": 1800.0, **options})
    case = {"case": "a", "image": str(frontal), "frontal": str(frontal), "lateral": str(lateral)}
    return json.loads(transform(case)["intake"])


def test_both_views_of_a_patient_agree_along_the_body():
    assert row_agreement(pair(9000))[0] > 0.95
    shifted = torch.stack([pair(9000)[0], pair(9000)[1].roll(4, dims=0)])
    agreement, shift = row_agreement(shifted)
    assert agreement > 0.9 and shift == -4


def test_profiles_do_not_change_with_brightness_and_contrast():
    torch.testing.assert_close(row_profiles(pair()), row_profiles(3 * pair() + 2), atol=1e-6, rtol=0)


def test_a_proper_pair_is_accepted(tmp_path):
    intake = load(tmp_path, *write_pngs(tmp_path))
    assert LIMITS.reasons(intake["evidence"], LIKE) == []


def test_a_volume_that_shows_something_else_is_not(tmp_path):
    intake = load(tmp_path, *write_pngs(tmp_path))
    (reason,) = LIMITS.reasons(intake["evidence"], (0.95, 0.2))
    assert "lateral" in reason and "0.20" in reason


def test_the_same_picture_twice_is_refused_however_it_lies(tmp_path):
    frontal, lateral = write_pngs(tmp_path)
    picture = Image.open(frontal)
    for number, other in enumerate((picture, picture.rotate(90), picture.resize((200, 200)))):
        other.save(tmp_path / f"twice{number}.png")
        with pytest.raises(CaseError, match="same picture"):
            load(tmp_path, frontal, tmp_path / f"twice{number}.png")


def test_views_that_are_exchanged_are_noticed(tmp_path):
    frontal, lateral = write_pngs(tmp_path)
    intake = load(tmp_path, lateral, frontal, orientation="as_is")
    assert LIMITS.reasons(intake["evidence"], LIKE) == ["frontal and lateral view seem to be exchanged"]


def test_two_frontal_views_are_noticed(tmp_path):
    frontal, _ = write_pngs(tmp_path)
    Image.fromarray(as_bytes(pair(1)[0])).save(tmp_path / "other.png")
    reasons = LIMITS.reasons(load(tmp_path, frontal, tmp_path / "other.png")["evidence"], LIKE)
    assert any("lateral X-ray looks like a frontal one" in reason for reason in reasons)


def test_noise_is_unlike_the_training_data(tmp_path):
    frontal, lateral = write_pngs(tmp_path)
    noise = torch.rand((64, 64), generator=torch.Generator().manual_seed(0))
    Image.fromarray(as_bytes(noise)).save(frontal)
    reasons = LIMITS.reasons(load(tmp_path, frontal, lateral)["evidence"], LIKE)
    assert any("frontal X-ray is unlike the training data" in reason for reason in reasons)


def test_a_missing_view_is_said_with_the_way_out(tmp_path):
    frontal, _ = write_pngs(tmp_path)
    transform = LoadXrayPaird("image", GEOMETRY, appearance())
    with pytest.raises(CaseError, match="lateral X-ray missing.*_lateral"):
        transform({"case": "a", "image": str(frontal), "frontal": str(frontal), "lateral": ""})


def test_a_server_of_labels_gives_one_path(tmp_path):
    frontal, lateral = write_pngs(tmp_path)
    transform = LoadXrayPaird("image", GEOMETRY, appearance(), pixel_spacing=6.4, sdd=1800.0)
    alone = transform({"image": str(frontal)})
    both = transform({"case": "case", "image": str(frontal), "frontal": str(frontal), "lateral": str(lateral)})
    assert torch.equal(alone["image"], both["image"]) and alone["image"].shape == (2, 64, 64)
    assert alone["image"].meta["projections"].shape == (2, 3, 4)


# Real X-rays: two frontal ones, of which none has a lateral one.


@pytest.fixture
def real() -> tuple[Path, Path]:
    data = os.environ.get("BUNDLES_DATA")
    if data is None or not (Path(data) / "xray").is_dir():
        pytest.skip("BUNDLES_DATA names no folder of real images")
    return Path(data) / "xray" / "chest_pa.png", Path(data) / "xray" / "chest_cr_no_sdd.dcm"


@pytest.fixture
def shipped() -> LoadXrayPaird:
    """Intake with the statistics and the geometry of the shipped weights."""
    fields = json.loads((BUNDLE / "configs" / "inference.json").read_text())["geometry"]
    geometry = BiplanarGeometry(**{name: value for name, value in fields.items() if name != "_target_"})
    return LoadXrayPaird("image", geometry, Appearance.load(BUNDLE / "models" / "xray_appearance.pt"))


def test_a_real_frontal_x_ray_twice_is_refused(real, shipped):
    for path in real:
        with pytest.raises(CaseError, match="same picture as the frontal X-ray.*lateral view missing"):
            shipped({"case": "a", "image": str(path), "frontal": str(path), "lateral": str(path)})


def test_a_real_frontal_x_ray_alone_is_refused(real, shipped, tmp_path):
    for path in real:
        alone = tmp_path / path.name
        alone.write_bytes(path.read_bytes())
        (case,) = find_pairs(alone)
        with pytest.raises(CaseError, match=f"{path.name}: lateral X-ray missing"):
            shipped(case)


def test_two_real_frontal_x_rays_are_not_taken_for_a_pair(real, shipped):
    for frontal, lateral in (real, real[::-1]):
        case = {"case": "a", "image": str(frontal), "frontal": str(frontal), "lateral": str(lateral)}
        intake = json.loads(shipped(case)["intake"])
        reasons = LIMITS.reasons(intake["evidence"], LIKE)
        assert any("the views do not agree along the body" in reason for reason in reasons)
        assert any("lateral X-ray" in reason for reason in reasons)
        assert any("source-to-detector distance is not known" in line for line in intake["warnings"])


def test_a_real_x_ray_is_put_right_when_it_is_turned_or_inverted(real, shipped, tmp_path):
    picture = Image.open(real[0]).convert("L")
    lateral = tmp_path / "lateral.png"
    Image.fromarray(as_bytes(pair()[1])).save(lateral)
    ways = {"turned by 90°": picture.rotate(90, expand=True), "inverted": Image.eval(picture, lambda v: 255 - v)}
    images = []
    for name, changed in {"": picture, **ways}.items():
        path = tmp_path / f"{name or 'same'}.png"
        changed.save(path)
        data = shipped({"case": "a", "image": str(path), "frontal": str(path), "lateral": str(lateral)})
        assert json.loads(data["intake"])["views"]["frontal"]["changed"] == ([name] if name else [])
        images.append(data["image"][0])
    assert all(float((image - images[0]).abs().mean()) < 0.02 for image in images[1:])


@pytest.mark.parametrize("tag", ["PatientID", "StudyInstanceUID"])
def test_views_of_two_patients_are_refused(shipped, tmp_path, tag):
    for view, image in zip(("frontal", "lateral"), pair(), strict=True):
        write_dicom(image, GEOMETRY, view, "one", tmp_path / f"a_{view}.dcm")
    (case,) = find_pairs(tmp_path)
    evidence = json.loads(shipped(case)["intake"])["evidence"]
    assert evidence["differ_in"] == []
    data = pydicom.dcmread(tmp_path / "a_lateral.dcm")
    setattr(data, tag, "1.2.3")
    data.save_as(tmp_path / "a_lateral.dcm")
    evidence = json.loads(shipped(case)["intake"])["evidence"]
    assert evidence["differ_in"] == [tag]
    assert f"the views differ in their {tag}" in LIMITS.reasons(evidence, LIKE)
    setattr(data, tag, "")  # what is not said is no difference
    data.save_as(tmp_path / "a_lateral.dcm")
    assert json.loads(shipped(case)["intake"])["evidence"]["differ_in"] == []


CHESTS = Path(os.environ.get("BUNDLES_DATA", "")) / "xray" / "chest_pairs"
# laterals that face to the right; the eleven frontals lie as usual, which the L in p92 proves
FACING_RIGHT = ("covid_p28_dx", "covid_p51_d3", "covid_p51_d9", "covid_p92_d0")


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA names no folder of real images")
def test_real_chests_are_not_mirrored_and_not_turned_over(shipped):
    cases = find_pairs(CHESTS)
    assert len(cases) == 12
    for case in cases:
        intake = json.loads(shipped(case)["intake"])
        assert intake["views"]["frontal"]["changed"] == [], case["case"]
        expected = ["mirrored"] if case["case"] in FACING_RIGHT else []
        assert intake["views"]["lateral"]["changed"] == expected, case["case"]
        assert intake["orientation"]["lateral"] == "recognised" or expected == []
