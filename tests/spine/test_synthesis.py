"""Synthetic CTs: bone where the label map says so, reproducible, different from each other."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared.spine.dataset import PrepareSpine, spine_datalist
from shared.spine.synthesis import patches, synthesize_ct, write_synthetic


@pytest.fixture(scope="module")
def bones() -> np.ndarray:
    """A hollowed block of bone."""
    mask = np.zeros((40, 44, 48), bool)
    mask[10:30, 12:32, 8:40] = True
    mask[16:24, 18:26] = False
    return mask


def test_same_seed_gives_the_same_ct(bones: np.ndarray) -> None:
    first, again, other = (synthesize_ct(bones, 1.5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.int16 and first.shape == bones.shape
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_bone_is_brighter_than_its_surroundings(bones: np.ndarray) -> None:
    outer = np.zeros_like(bones)
    outer[8:32, 10:34, 6:42] = True
    for seed in range(6):
        image = synthesize_ct(bones, 1.5, np.random.default_rng(seed))
        assert image[bones].mean() > image[outer & ~bones].mean() + 40


def test_structures_get_intensities_of_their_kind(bones: np.ndarray) -> None:
    structures = np.zeros(bones.shape, np.int16)
    structures[2:8, 2:40, 4:44] = 3
    seen = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image = synthesize_ct(bones, 1.5, rng, structures, {3: "lung"}, np.ones_like(bones))
        seen.append(float(np.median(image[3:7, 4:38, 6:42])))
    assert sum(value < -600 for value in seen) >= 6  # now and then a structure is left to the background


def test_outside_of_the_body_is_air(bones: np.ndarray) -> None:
    body = np.zeros_like(bones)
    body[4:36] = True
    image = synthesize_ct(bones, 1.5, np.random.default_rng(0), body=body)
    assert image[38:].mean() == pytest.approx(-1000, abs=40)


def test_patches_have_unit_spread() -> None:
    field = patches((30, 40, 50), 8.0, np.random.default_rng(0))
    assert field.shape == (30, 40, 50) and field.std() == pytest.approx(1.0) and abs(field.mean()) < 1e-6
    assert np.abs(np.diff(field, axis=0)).mean() < 0.3  # smooth


def test_written_cases_can_be_trained_on(tmp_path: Path) -> None:
    mask = np.zeros((30, 30, 36), np.uint8)
    mask[8:22, 8:22, 4:16], mask[8:22, 8:22, 20:32] = 21, 20
    nib.save(nib.Nifti1Image(mask, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "seg.nii.gz")
    table = write_synthetic(tmp_path / "seg.nii.gz", tmp_path / "out", count=2, spacing_mm=2.0)
    items = spine_datalist(table, "all")
    assert [item["case"] for item in items] == ["synthetic_0000", "synthetic_0001"]
    prepared = PrepareSpine(tmp_path / "cache", 3.0)(items[0])
    assert int((prepared["centres"].abs().amax(dim=1) < 1e4).sum()) == 2
