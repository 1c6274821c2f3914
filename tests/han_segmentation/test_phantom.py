"""Procedural heads: repeatable, all organs at plausible size and place, MR displaced by the matrix that is given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from bundles.han_segmentation.scripts.phantoms import HeadNeckPhantom, make_head_neck, write_head_neck_dataset
from bundles.han_segmentation.scripts.phantoms.canvas import KEEP, HeadCanvas
from bundles.han_segmentation.scripts.phantoms.shapes import put_ellipsoid
from shared.io.itk_images import read_image
from tests.han_segmentation.heads import NAMES, NUMBERS, PAIRS, TABLE

# millilitres, from small women to large men with room for the simple shapes
VOLUMES_ML = {
    "Bone_Mandible": (35, 110),
    "Brainstem": (15, 40),
    "Parotid_L": (12, 45),
    "SpinalCord": (8, 30),
    "Cochlea_L": (0.05, 0.4),
    "OpticChiasm": (0.25, 1.5),
    "Pituitary": (0.3, 1.8),
    "Eye_PL": (3, 9),
    "Glnd_Thyroid": (8, 35),
    "Glnd_Submand_R": (3, 14),
}


@pytest.fixture(scope="module")
def head() -> HeadNeckPhantom:
    return make_head_neck(3, (3.0, 3.0, 3.0), mr_spacing_mm=(3.0, 3.0, 3.0))


def world(phantom: HeadNeckPhantom, number: int) -> np.ndarray:
    """Centre (3,) of an organ in RAS mm."""
    index = np.argwhere(phantom.labels == number).mean(axis=0)
    return phantom.affine[:3, :3] @ index + phantom.affine[:3, 3]


def test_same_seed_same_patient(head):
    again = make_head_neck(3, (3.0, 3.0, 3.0), mr_spacing_mm=(3.0, 3.0, 3.0))
    np.testing.assert_array_equal(again.ct, head.ct)
    np.testing.assert_array_equal(again.mr, head.mr)
    other = make_head_neck(4, (3.0, 3.0, 3.0), with_mr=False)
    assert other.mr is None and not np.array_equal(other.labels, head.labels)


def test_all_organs_of_plausible_size(head):
    assert head.contoured == tuple(range(1, 31)) == tuple(int(n) for n in np.unique(head.labels) if n)
    ml = abs(np.linalg.det(head.affine[:3, :3])) / 1000
    for name, (low, high) in VOLUMES_ML.items():
        assert low < (head.labels == NUMBERS[name]).sum() * ml < high, name


def test_organs_lie_where_they_belong(head):
    for left, right in PAIRS:
        assert world(head, left)[0] < world(head, right)[0] - 5, NAMES[left]
    x, y, z = (dict(zip(NAMES.values(), c, strict=True)) for c in np.array([world(head, n) for n in NAMES]).T)
    assert z["Eye_PL"] > z["Lips"] > z["Glottis"] > z["Glnd_Thyroid"]
    assert z["Larynx_SG"] > z["Glottis"] > z["Cricopharyngeus"] > z["Esophagus_S"]
    assert y["Lips"] > y["Cavity_Oral"] > y["Brainstem"] and y["Eye_AL"] > y["Eye_PL"] > y["OpticNrv_L"]
    assert z["OpticChiasm"] > z["Pituitary"] > z["Brainstem"] > z["SpinalCord"]
    assert abs(x["Brainstem"] - x["OpticChiasm"]) < 12


def test_contrast_of_ct_and_connected_organs(head):
    def median(name: str) -> float:
        return float(np.median(head.ct[head.labels == NUMBERS[name]]))

    assert median("Bone_Mandible") > 300 and abs(median("Brainstem") - 30) < 25 and median("Eye_PL") < 40
    assert median("Parotid_L") < median("Glnd_Submand_L") < median("Glnd_Thyroid") + 40
    assert head.ct.min() < -950
    for organ in TABLE.organs:
        if organ.name in ("BuccalMucosa", "Arytenoid", "Glnd_Thyroid"):
            continue
        parts, count = ndimage.label(head.labels == organ.number, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        assert sizes.max() > 0.9 * sizes.sum(), organ.name


def test_left_and_right_differ(head):
    mirrored = TABLE.mirrored_numbers()[head.labels[::-1]]
    sizes = [np.bincount(labels.ravel(), minlength=31) for labels in (head.labels, mirrored)]
    unequal = [left for left, _ in PAIRS if abs(np.log(sizes[0][left] / sizes[1][left])) > 0.05]
    assert len(unequal) >= 3


def test_mr_shows_the_same_head_moved_by_the_matrix(head):
    """The eyes are dark balls in T1 amid bright fat; without the matrix they would be looked for beside."""
    assert head.mr is not None
    assert np.linalg.det(head.mr_to_ct[:3, :3]) == pytest.approx(1)
    to_mr = np.linalg.inv(head.mr_to_ct @ head.mr_affine)
    middle: list[float] = []
    shell: list[float] = []
    for name in ("Eye_PL", "Eye_PR"):
        eye = head.labels == NUMBERS[name]
        around = ndimage.binary_dilation(eye, iterations=2) & (head.labels == 0)
        around &= np.abs(head.ct + 95) < 60  # orbital fat
        for mask, values in ((ndimage.binary_erosion(eye), middle), (around, shell)):
            points = np.argwhere(mask) @ head.affine[:3, :3].T + head.affine[:3, 3]
            index = np.round(points @ to_mr[:3, :3].T + to_mr[:3, 3]).astype(int)
            values.append(float(np.median(head.mr[tuple(index.T)])))
    assert max(middle) < 0.5 * min(shell)
    extent = np.array(head.mr.shape) * 3.0
    assert (extent < np.array(head.ct.shape) * 3.0).all(), "the MR shows less than the CT"


def test_missing_organs_are_there_but_not_drawn():
    whole = make_head_neck(5, (4.0, 4.0, 4.0), with_mr=False)
    less = make_head_neck(5, (4.0, 4.0, 4.0), with_mr=False, missing=3)
    np.testing.assert_array_equal(less.ct, whole.ct)
    gone = set(whole.contoured) - set(less.contoured)
    assert len(gone) == 3 and not np.isin(less.labels, list(gone)).any()
    kept = np.isin(whole.labels, less.contoured)
    np.testing.assert_array_equal(less.labels[kept], whole.labels[kept])


def test_shapes_keep_their_volume_and_labels_inside_them():
    points = np.stack(np.meshgrid(*[np.arange(-12.0, 12.1, 1.0)] * 3, indexing="ij")).astype(np.float32)
    canvas = HeadCanvas(points, 1.0, {"air": 0.0, "fat": 1.0, "lens": 5.0}, {"Lips": 23})
    canvas.body[:] = -100.0
    put_ellipsoid(canvas, (0, 1, 0), (9, 7, 6), "fat", "Lips")
    expected = 4 / 3 * np.pi * 9 * 7 * 6
    assert canvas.values.sum() == pytest.approx(expected, rel=0.03)
    assert (canvas.labels == 23).sum() == pytest.approx(expected, rel=0.03)
    before = canvas.labels.copy()
    put_ellipsoid(canvas, (0, 1, 0), (3, 3, 3), "lens", KEEP)
    np.testing.assert_array_equal(canvas.labels, before)
    assert canvas.values.max() == pytest.approx(5.0)
    assert canvas.box(np.array([50.0, 0, 0]), np.array([60.0, 5, 5])) is None


def test_written_cases(tmp_path: Path):
    write_head_neck_dataset(str(tmp_path), count=1, seed=7, spacing_mm=5.0, missing=2)
    folder = tmp_path / "head_00007"
    contoured = json.loads((folder / "labels.json").read_text())["contoured"]
    labels = read_image(folder / "labels.nii.gz")
    assert read_image(folder / "ct.nii.gz").GetSize() == labels.GetSize()
    present = set(np.unique(sitk.GetArrayViewFromImage(labels))) - {0}
    assert present == {NUMBERS[name] for name in contoured}
    assert len(json.loads((folder / "phantom.json").read_text())["missing"]) == 2
    with pytest.raises(ValueError, match="nifti or han_seg"):
        write_head_neck_dataset(str(tmp_path), form="dicom")  # type: ignore[arg-type]
