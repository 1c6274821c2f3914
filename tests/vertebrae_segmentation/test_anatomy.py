import csv
import json

import nibabel as nib
import numpy as np
import pytest

from bundles.vertebrae_segmentation.scripts.anatomy import (
    COLUMNS,
    body_heights,
    upward_directions,
    vertebra_table,
    write_vertebra_table,
)
from shared.phantoms.torso import make_torso
from shared.spine.body import ATLAS, body_centres, body_mask


@pytest.fixture(scope="module")
def lumbar():
    return make_torso(3, (2.0, 2.0, 2.0), ("T11", "L4"), anomalies=False, field_of_view="spine")


@pytest.fixture(scope="module")
def rows(lumbar):
    return {row["name"]: row for row in vertebra_table(lumbar.labels, lumbar.image, lumbar.affine)}


def test_body_centres_of_a_phantom(lumbar):
    found = body_centres(lumbar.labels, lumbar.affine)
    errors = [np.linalg.norm(found[k] - lumbar.body_centres[k] * [-1, -1, 1]) for k in lumbar.complete]
    assert len(errors) >= 5 and np.mean(errors) < 1.0 and max(errors) < 2.5


def test_atlas_has_no_body():
    ring = np.ones((8, 8, 4), bool)
    ring[3:5, 3:5] = False
    assert body_mask(ring, ATLAS, (1, 1, 1)) is ring


def test_axes_of_the_array_do_not_matter(lumbar):
    flip = nib.orientations.axcodes2ornt(("P", "I", "R"))
    turn = nib.orientations.ornt_transform(nib.io_orientation(lumbar.affine), flip)
    affine = lumbar.affine @ nib.orientations.inv_ornt_aff(turn, lumbar.labels.shape)
    labels, image = (nib.orientations.apply_orientation(a, turn) for a in (lumbar.labels, lumbar.image))
    expected = vertebra_table(lumbar.labels, lumbar.image, lumbar.affine)
    for row, other in zip(vertebra_table(labels, image, affine), expected, strict=True):
        assert row["complete"] == other["complete"]
        numbers = [[value for value in r.values() if isinstance(value, float)] for r in (row, other)]
        np.testing.assert_allclose(*numbers, rtol=1e-3, atol=0.35, equal_nan=True)


def test_volume_and_completeness(lumbar, rows):
    assert {row["label"] for row in rows.values() if row["complete"]} == set(lumbar.complete)
    voxels = int((lumbar.labels == 21).sum())
    assert rows["L2"]["volume_cm3"] == pytest.approx(voxels * 0.008)
    assert rows["L2"]["mean_hu"] == pytest.approx(lumbar.image[lumbar.labels == 21].mean(), abs=0.1)
    assert rows["L2"]["core_hu"] < rows["L2"]["mean_hu"]  # cancellous bone is less dense than cortex


def test_heights_of_a_block():
    # a block 30 mm deep and 40 mm wide, 20 mm high in front and 28 mm behind
    grid = np.stack(np.meshgrid(*[np.arange(-25, 25, 0.5) + 0.25] * 3, indexing="ij"), -1).reshape(-1, 3)
    x, y, z = grid.T
    top = 12 - 4 * y / 15
    points = grid[(np.abs(x) < 20) & (np.abs(y) < 15) & (z > -12) & (z < top)]
    heights = body_heights(points, points, np.array([0.0, 0, 1]), np.array([0.0, 1, 0]), 0.125)
    assert heights["anterior"] == pytest.approx(24 - 4 * 0.6, abs=0.3)
    assert heights["middle"] == pytest.approx(24, abs=0.3)
    assert heights["posterior"] == pytest.approx(24 + 4 * 0.6, abs=0.3)


def test_a_wedge_fracture_is_lower_in_front():
    torso = make_torso(8, (2.0, 2.0, 2.0), ("T12", "L3"), ["wedge"], field_of_view="spine")
    rows = {row["label"]: row for row in vertebra_table(torso.labels, None, torso.affine)}
    broken = [label for label in torso.meta["fractured"] if label in torso.complete]
    whole = [label for label in torso.complete if label not in broken]
    assert broken and whole

    def ratio(label: int) -> float:
        return rows[label]["height_anterior_mm"] / rows[label]["height_posterior_mm"]

    assert max(ratio(label) for label in broken) < min(ratio(label) for label in whole) - 0.1
    assert np.isnan(rows[broken[0]]["mean_hu"])


def test_direction_of_the_spine():
    ups = upward_directions({20: np.array([0.0, 0, 60]), 21: np.array([0.0, 8, 30]), 22: np.array([0.0, 8, 0])})
    np.testing.assert_allclose(ups[22], [0, 0, 1])
    assert ups[20][1] < 0
    np.testing.assert_allclose(upward_directions({5: np.zeros(3)})[5], [0, 0, 1])


def test_table_files(tmp_path, lumbar):
    rows = vertebra_table(lumbar.labels, None, lumbar.affine)
    write_vertebra_table(tmp_path / "t.csv", rows, tmp_path / "t.json")
    with open(tmp_path / "t.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS and len(read) == len(rows) and read[0]["mean_hu"] == ""
    assert json.loads((tmp_path / "t.json").read_text())[0]["mean_hu"] is None


def test_no_vertebra():
    assert vertebra_table(np.zeros((5, 5, 5), np.uint8), None, np.eye(4)) == []
    assert body_centres(np.zeros((5, 5, 5)), np.eye(4)) == {}
