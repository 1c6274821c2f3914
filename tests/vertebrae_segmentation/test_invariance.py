"""The shipped weights name and segment the same vertebrae whatever form a CT comes in."""

from __future__ import annotations

import pytest

from shared.phantoms.torso.phantom import make_torso
from tests.vertebrae_segmentation.invariance import ORIENTATIONS, SPACINGS_MM, Outcome, Scan, forms, run_forms

SEED, RANGE = 3, ("T9", "L3")
DICE_LIMIT = 0.01
# sharp edges, drawn on voxels of 2 mm, lose more in larger ones than those of a real CT, which stays within 0.01
COARSER_LIMITS = {"3.0 mm": 0.03}
FORMS = [*ORIENTATIONS, *(f"{mm} mm" for mm in SPACINGS_MM), "crop 0", "crop 1", "dicom"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every form of a small phantom, in one run of the pipeline."""
    torso = make_torso(SEED, (2, 2, 2), RANGE, False, "RAS", "spine")
    return run_forms(forms(Scan(torso.image, torso.labels, torso.affine)), tmp_path_factory.mktemp("forms"))


def test_the_phantom_itself_is_labelled_right(outcomes: dict[str, Outcome]) -> None:
    dice = outcomes["as it is"].dice
    assert len(dice) >= 4 and min(dice.values()) > 0.7, dice


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_the_same(outcomes: dict[str, Outcome], form: str) -> None:
    first, other = outcomes["as it is"], outcomes[form]
    shared = [label for label in other.dice if label in first.dice]
    assert len(shared) >= 2 and set(shared) <= other.labels
    assert min(other.dice[label] for label in shared) > 0.7, other.dice


@pytest.mark.parametrize("form", FORMS)
def test_masks_are_the_same(outcomes: dict[str, Outcome], form: str) -> None:
    first, other = outcomes["as it is"], outcomes[form]
    shared = [label for label in other.dice if label in first.dice]
    limit = COARSER_LIMITS.get(form, DICE_LIMIT)
    assert other.mean(shared) == pytest.approx(first.mean(shared), abs=limit), (first.dice, other.dice)
