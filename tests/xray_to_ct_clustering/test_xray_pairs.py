"""Which files make a case."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from bundles.xray_to_ct_clustering.scripts.render_pairs import write_dicom
from bundles.xray_to_ct_clustering.scripts.xray_pairs import find_pairs, view_of
from shared.io.errors import CaseError
from tests.xray_to_ct_clustering.xrays import GEOMETRY, pair


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40), 100).save(path)


def found(folder: Path) -> dict[str, tuple[str, str]]:
    """Names of the frontal and the lateral file by case."""
    return {p["case"]: (Path(p["frontal"]).name, Path(p["lateral"]).name) for p in find_pairs(folder)}


def test_pairs_by_name_in_one_folder_and_in_folders(tmp_path):
    touch(tmp_path, "a_frontal.png", "a_lateral.png", "b_PA.png", "b-lat.png", "c/frontal.png", "c/Lateral.png")
    assert found(tmp_path) == {
        "a": ("a_frontal.png", "a_lateral.png"),
        "b": ("b_PA.png", "b-lat.png"),
        "c": ("frontal.png", "Lateral.png"),
    }


def test_a_view_that_is_missing_is_left_empty(tmp_path):
    touch(tmp_path, "a_frontal.png", "b_lateral.png", "c.png")
    pairs = {p["case"]: p for p in find_pairs(tmp_path)}
    assert pairs["a"]["lateral"] == "" and pairs["a"]["image"] == pairs["a"]["frontal"]
    assert pairs["b"]["frontal"] == "" and pairs["b"]["image"] == pairs["b"]["lateral"]
    assert Path(pairs["c"]["frontal"]).name == "c.png", "a picture of no known view is taken as frontal"


def test_names_that_coincide_get_their_folders(tmp_path):
    touch(tmp_path, "one/a_frontal.png", "one/a_lateral.png", "two/a_frontal.png", "two/a_lateral.png")
    assert sorted(found(tmp_path)) == ["one_a", "two_a"]


def test_dicom_headers_say_the_view(tmp_path):
    for view, image in zip(("frontal", "lateral"), pair(), strict=True):
        write_dicom(image, GEOMETRY, view, "patient", tmp_path / "patient" / f"{view[:1]}1.dcm")
    assert view_of(tmp_path / "patient" / "l1.dcm") == ("lateral", "")
    assert found(tmp_path) == {"patient": ("f1.dcm", "l1.dcm")}


def test_one_file_finds_the_other_beside_it(tmp_path):
    touch(tmp_path, "a_frontal.png", "a_lateral.png", "b_frontal.png", "other.png")
    (one,) = find_pairs(tmp_path / "a_frontal.png")
    assert one["case"] == "a" and Path(one["lateral"]).name == "a_lateral.png"
    (alone,) = find_pairs(tmp_path / "b_frontal.png")
    assert alone["lateral"] == ""
    (named,) = find_pairs(tmp_path / "b_frontal.png", tmp_path / "other.png")
    assert Path(named["lateral"]).name == "other.png"


def test_what_cannot_be_a_data_set_is_said(tmp_path):
    with pytest.raises(CaseError, match="no such file or folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(CaseError, match="holds no radiograph"):
        find_pairs(tmp_path)
    touch(tmp_path, "a_frontal.png")
    with pytest.raises(CaseError, match="--lateral"):
        find_pairs(tmp_path, tmp_path / "a_frontal.png")
    with pytest.raises(CaseError, match="no such file"):
        find_pairs(tmp_path / "a_frontal.png", tmp_path / "none.png")


def test_dicom_files_find_each_other_beside_one(tmp_path):
    for view, image in zip(("frontal", "lateral"), pair(), strict=True):
        write_dicom(image, GEOMETRY, view, "c", tmp_path / f"control_{view}.dcm")
        write_dicom(image, GEOMETRY, view, "d", tmp_path / f"other_{view}")  # no suffix
    for name, lateral in (("control_frontal.dcm", "control_lateral.dcm"), ("other_frontal", "other_lateral")):
        (one,) = find_pairs(tmp_path / name)
        assert Path(one["lateral"]).name == lateral and one["case"] == name.split("_")[0]


@pytest.mark.parametrize(
    "names, case",
    [
        (("p01.a_frontal.png", "p01.a_lateral.png"), "p01.a"),
        (("p 01 frontal.png", "p 01 lateral.png"), "p 01"),
        (("Müller_frontal.png", "Mu\u0308ller_lateral.png"), "Müller"),  # ü as one sign and as two
        (("p01_FRONTAL.PNG", "p01_LATERAL.JPG"), "p01"),
        (("p01.frontal.v2.png", "p01.lateral.v2.png"), "p01.v2"),
        (("PA_017.png", "LAT_017.png"), "017"),
        (("1.2.840.5_frontal.png", "1.2.840.5_lateral.png"), "1.2.840.5"),
    ],
)
def test_names_of_all_kinds_make_pairs(tmp_path, names, case):
    touch(tmp_path, *names)
    assert found(tmp_path) == {case: names}
    (one,) = find_pairs(tmp_path / names[0])
    assert (one["case"], Path(one["lateral"]).name) == (case, names[1])


def test_equal_stems_of_different_suffixes_go_together_by_suffix(tmp_path):
    touch(tmp_path, "a_frontal.png", "a_lateral.png", "a_frontal.jpg", "a_lateral.jpg")
    touch(tmp_path, "b_frontal.png", "b_frontal.tif", "b_lateral.tif")
    pairs = found(tmp_path)
    assert pairs["a_png"] == ("a_frontal.png", "a_lateral.png")
    assert pairs["a_jpg"] == ("a_frontal.jpg", "a_lateral.jpg")
    assert pairs["b_tif"] == ("b_frontal.tif", "b_lateral.tif")
    assert {p["case"]: p["lateral"] for p in find_pairs(tmp_path)}["b_png"] == ""
    (one,) = find_pairs(tmp_path / "a_frontal.jpg")
    assert Path(one["lateral"]).name == "a_lateral.jpg"


def test_nameless_dicom_files_of_one_folder_are_paired_by_their_study(tmp_path):
    for number, patient in enumerate(("x", "y")):
        for view, image in zip(("frontal", "lateral"), pair(), strict=True):
            # in an order in which names would pair the frontal of one with the lateral of the other
            order = number if view == "frontal" else 1 - number
            write_dicom(image, GEOMETRY, view, patient, tmp_path / "scans" / f"{view[0]}{order}")
    pairs = find_pairs(tmp_path)
    assert len(pairs) == 2 and len({p["case"] for p in pairs}) == 2
    for one in pairs:
        patients = {pydicom.dcmread(one[view]).PatientID for view in ("frontal", "lateral")}
        assert len(patients) == 1


def test_own_results_in_the_folder_of_the_x_rays_are_not_taken(tmp_path, caplog):
    touch(tmp_path, "a_frontal.png", "a_lateral.png", "b 1/frontal.png", "b 1/lateral.png")
    before = found(tmp_path)
    for case in before:
        (tmp_path / f"{case}_volume.json").write_text(json.dumps({"case": case}))
        touch(tmp_path, f"{case}_preview.png")
        for name in ("ct", "clusters", "uncertainty", "confidence"):
            (tmp_path / f"{case}_{name}.nii.gz").write_bytes(b"result")
    assert found(tmp_path) == before
    assert "a_preview.png" in caplog.text or "a_clusters.nii.gz" in caplog.text
    (one,) = find_pairs(tmp_path / "a_frontal.png")
    assert Path(one["lateral"]).name == "a_lateral.png"
