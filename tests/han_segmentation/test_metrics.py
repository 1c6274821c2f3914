"""Figures per organ with their rule for empty pairs; predicting nothing scores nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundles.han_segmentation.scripts.evaluation import measure_case, write_report
from bundles.han_segmentation.scripts.metrics import mask_figures, organ_dice, slice_wise_dice
from bundles.han_segmentation.scripts.phantoms.dataset import write_nifti_case
from tests.han_segmentation.heads import NAMES, TABLE, head

KNOWN = np.ones(31, bool)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head with its contours."""
    folder = tmp_path_factory.mktemp("case") / "head"
    write_nifti_case(head(), folder)
    return folder


def item(folder: Path, found: np.ndarray, unknown: Sequence[str] = ()) -> dict:
    """What an evaluation holds about the head: found labels, and the files of the true ones."""
    phantom = head()
    copy = folder.parent / "_".join(["without", *unknown])
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    contoured = [NAMES[number] for number in phantom.contoured if NAMES[number] not in unknown]
    (copy / "labels.json").write_text(json.dumps({"contoured": contoured}))
    affine = torch.as_tensor(phantom.affine)
    arrays = {"pred": found, "original": phantom.ct}
    tensors = {key: MetaTensor(torch.from_numpy(array.copy())[None], affine=affine) for key, array in arrays.items()}
    return {"case": "head", "reference": json.dumps({"labels": str(copy / "labels.nii.gz")}), **tensors}


def test_predicting_nothing_scores_nothing(files: Path) -> None:
    """The regression of a published mean "Dice" of 0.88: slices without the organ count as perfect there."""
    truth = head().labels
    nothing = np.zeros_like(truth)
    assert (organ_dice(nothing, truth, KNOWN) == 0).all()
    row = measure_case(item(files, nothing), TABLE, "all")
    assert row["dice_mean"] == 0 and all(figures["surface_dice"] == 0 for figures in row["organs"].values())
    inflated = {name: figures["slice_wise"] for name, figures in row["organs"].items()}
    assert np.mean(list(inflated.values())) > 0.8 and inflated["Cochlea_L"] > 0.95 > inflated["SpinalCord"]


def test_empty_pairs() -> None:
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[0] = 5
    found = truth.copy()
    found[3] = 7
    known = KNOWN.copy()
    known[5] = False
    scores = organ_dice(found, truth, known)
    assert np.isnan(scores[4]), "not contoured, not measured"
    assert scores[6] == 0 and np.isnan(scores[0]), "found where it is known to be absent, and absent twice"
    empty, some = np.zeros((4, 4, 4), bool), truth == 5
    missed, invented = mask_figures(empty, some, (1, 1, 1)), mask_figures(some, empty, (1, 1, 1))
    assert missed.dice == 0 and np.isinf(missed.hd95_mm) and missed.volume_error_percent == -100
    assert invented.dice == 0 and np.isnan(invented.volume_error_percent)
    assert np.isnan(mask_figures(empty, empty, (1, 1, 1)).dice)


def test_a_known_shift() -> None:
    truth, found = np.zeros((2, 20, 20, 20), bool)
    truth[5:15, 5:15, 5:15] = True
    found[7:17, 5:15, 5:15] = True
    figures = mask_figures(found, truth, (2.0, 1.0, 1.0))
    assert figures.dice == pytest.approx(0.8) and figures.volume_error_percent == 0
    assert figures.hd95_mm == pytest.approx(4.0) and figures.volume_ml == pytest.approx(2.0)
    assert 0.5 < figures.surface_dice < 1
    exact = mask_figures(truth, truth, (2.0, 1.0, 1.0))
    assert (exact.dice, exact.surface_dice, exact.hd95_mm) == (1, 1, 0)
    assert slice_wise_dice(truth, truth) == pytest.approx(1)


def test_report(files: Path, tmp_path: Path) -> None:
    truth = head().labels
    right = measure_case(item(files, truth, ["Lips"]), TABLE, "all")
    exchanged = measure_case(item(files, TABLE.mirrored_numbers()[truth]), TABLE, "all")
    assert right["dice_mean"] == 1 and right["sides_exchanged"] == 0 and "Lips" not in right["organs"]
    assert exchanged["sides_exchanged"] == 8 and exchanged["sides_renamed"] == 0
    renamed = item(files, truth) | {"renamed_sides": [(1,)]}
    assert measure_case(renamed, TABLE, "all")["sides_renamed"] == 1
    assert list(measure_case(renamed, TABLE, "patients")["organs"]) == list(TABLE.from_patients)
    write_report([right, {**exchanged, "case": "other"}], str(tmp_path), TABLE)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "metrics.csv", "organs.csv", "organs.png"}
    document = json.loads((tmp_path / "metrics.json").read_text())
    lines = {line["organ"]: line for line in document["organs"]}
    assert list(lines) == list(NAMES.values())
    assert lines["Lips"]["cases"] == 1 and lines["Brainstem"]["dice"] == 1 and lines["Parotid_L"]["dice"] == 0.5
    assert document["summary"]["cases_with_exchanged_sides"] == 1 and document["summary"]["organs"] == 30
    bands = {band["band"]: band for band in document["bands"]}
    assert list(bands) == ["excellent", "very good", "good", "moderate", "challenging"]
    assert "Brainstem" in bands["excellent"]["organs"] and bands["excellent"]["range"] == [1, 1]
    assert "Parotid_L" in bands["challenging"]["organs"] and bands["good"] == {
        "band": "good", "from": 0.8, "organs": [], "range": []
    }  # fmt: skip
    assert sorted(document["ranking"]) == sorted(lines) and lines[document["ranking"][0]]["dice"] == 1
    assert lines[document["ranking"][-1]]["dice"] == 0.5
    expected = np.mean([line["dice"] for line in lines.values()])
    assert document["summary"]["dice_mean"] == pytest.approx(expected)
