import json

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor

from shared.io.errors import CaseError
from shared.phantoms.torso.dataset import verse_centroids
from shared.phantoms.torso.phantom import TorsoPhantom
from shared.spine.centroids import (
    normal_label,
    read_centroids,
    to_direction,
    write_named_centroids,
    write_verse_centroids,
)

SHAPE = (40, 50, 60)
POINTS = {19: np.array([3.0, 4.0, 90.0]), 28: np.array([4.0, 6.0, 60.0]), 20: np.array([5.0, 8.0, 30.0])}  # RAS mm


def volume(codes: str = "RAS") -> MetaTensor:
    """An oblique image whose axes run about to the given directions."""
    ras = np.diag([1.0, 1.5, 2.0, 1.0])
    turn = np.deg2rad(8)
    ras[:2, :2] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ ras[:2, :2]
    ras[:3, 3] = [-20, -30, 10]
    shift = nib.orientations.ornt_transform(nib.io_orientation(ras), nib.orientations.axcodes2ornt(tuple(codes)))
    affine = ras @ nib.orientations.inv_ornt_aff(shift, SHAPE)
    shape = np.empty(3, int)
    shape[shift[:, 0].astype(int)] = SHAPE
    return MetaTensor(np.zeros((1, *shape), np.float32), affine=affine)


def same(found: dict[int, np.ndarray]) -> None:
    assert list(found) == [19, 28, 20]  # from head to foot
    for label, point in POINTS.items():
        np.testing.assert_allclose(found[label], point, atol=2e-3)


def challenge_entries(corner: MetaTensor, axes: str) -> list[dict[str, float]]:
    """Points in mm along the axes of the image turned to a direction, from its first voxel."""
    matrix = to_direction(np.asarray(corner.affine), corner.shape[1:], axes)
    matrix[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
    inverse = np.linalg.inv(matrix)
    return [
        {"label": k} | dict(zip("XYZ", (inverse[:3, :3] @ p + inverse[:3, 3]).tolist(), strict=True))
        for k, p in POINTS.items()
    ]


@pytest.mark.parametrize("direction", ["PIR", "LPS", "RAS", "SAL"])
@pytest.mark.parametrize("stored", ["RAS", "LPI", "PSR"])
def test_verse_form_comes_back(tmp_path, direction, stored):
    image = volume(stored)
    write_verse_centroids(tmp_path / "a.json", POINTS, image, direction)
    assert json.loads((tmp_path / "a.json").read_text())[0] == {"direction": list(direction)}
    same(read_centroids(tmp_path / "a.json", image))
    # the same file with an array in another orientation of the same image
    same(read_centroids(tmp_path / "a.json", volume("RAS")))


@pytest.mark.parametrize(("form", "axes"), [("verse20", "PIR"), ("verse19", "IPL")])
@pytest.mark.parametrize("given", [True, False])
def test_challenge_forms(tmp_path, form, axes, given):
    image = volume("LAS")
    (tmp_path / "a.json").write_text(json.dumps(challenge_entries(image, axes)))
    same(read_centroids(tmp_path / "a.json", image, form if given else None))


def test_one_vertebra_in_mm_is_refused_unless_the_form_is_given(tmp_path):
    image = volume()
    (tmp_path / "a.json").write_text(json.dumps(challenge_entries(image, "PIR")[:1]))
    with pytest.raises(CaseError, match="along which axes"):
        read_centroids(tmp_path / "a.json", image)
    assert list(read_centroids(tmp_path / "a.json", image, "verse20")) == [19]


def test_named_form_is_lps(tmp_path):
    write_named_centroids(tmp_path / "a.json", POINTS)
    assert json.loads((tmp_path / "a.json").read_text())[1] == {"name": "T13", "x": -4.0, "y": -6.0, "z": 60.0}
    same(read_centroids(tmp_path / "a.json"))


def test_results_of_this_project(tmp_path):
    marks = [{"index": 20, "name": "L1", "x": 1, "y": 2, "z": 3, "confidence": 0.5}]
    (tmp_path / "a.json").write_text(json.dumps({"case": "a", "frame": "LPS", "landmarks": marks, "warnings": []}))
    np.testing.assert_allclose(read_centroids(tmp_path / "a.json")[20], [-1, -2, 3])


def test_phantoms_write_the_verse_form(tmp_path):
    image = volume("PIR")
    centres = {label: point * [-1, -1, 1] for label, point in POINTS.items()}
    phantom = TorsoPhantom(*[np.zeros(image.shape[1:], np.uint8)] * 3, np.asarray(image.affine), centres, ())
    (tmp_path / "a.json").write_text(json.dumps(verse_centroids(phantom)))
    found = read_centroids(tmp_path / "a.json", image)
    for label, point in POINTS.items():
        np.testing.assert_allclose(found[label], point, atol=0.02)


def test_labels_and_names():
    assert [normal_label(value) for value in ("S1", "T13", "l3", 28, "7", 50, "S2", 27, "rib")] == [
        26, 28, 22, 28, 7, None, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a": 1}',
        '[{"label": 1}]',
        '[{"direction": ["P", "I", "R"]}, {"label": 1, "X": 1}]',
        '[{"name": "C1", "x": "east", "y": 1, "z": 1}]',
        '[{"name": "C1", "x": NaN, "y": 1, "z": 1}]',
    ],
)
def test_broken_files_are_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CaseError, match="a.json"):
        read_centroids(tmp_path / "a.json", volume())


def test_missing_file_and_missing_image(tmp_path):
    with pytest.raises(CaseError, match="no such file"):
        read_centroids(tmp_path / "a.json")
    write_verse_centroids(tmp_path / "b.json", POINTS, volume())
    with pytest.raises(CaseError, match="give the image"):
        read_centroids(tmp_path / "b.json")
