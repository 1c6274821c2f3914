"""Which files make a case."""

from __future__ import annotations

from pathlib import Path

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
