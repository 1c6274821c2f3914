"""What is no head and neck is refused for what it is; volumes that no patient has are said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundles.han_segmentation.scripts.plausibility import RefuseOtherRegiond, organ_volumes, volume_warnings
from shared.io.errors import CaseError
from shared.io.example_ct import example_ct
from tests.bundles.processes import bundle_command, run_quickly
from tests.han_segmentation.heads import BUNDLE, NUMBERS, TABLE, head

STEM = NUMBERS["Brainstem"]


def item(labels: np.ndarray, affine: np.ndarray) -> dict:
    ct = MetaTensor(torch.zeros(1, 1, 1, 1), meta={"filename_or_obj": "body.nii.gz"})
    return {"original": ct, "pred": MetaTensor(torch.from_numpy(labels.copy())[None], affine=torch.as_tensor(affine))}


def test_a_head_passes_and_a_body_without_one_does_not() -> None:
    phantom, refuse = head(), RefuseOtherRegiond("pred", TABLE)
    given = item(phantom.labels, phantom.affine)
    assert refuse(given) is given
    without = np.where(phantom.labels == STEM, 0, phantom.labels)
    with pytest.raises(CaseError, match="body.nii.gz: shows no Brainstem .0.0 ml. of plausible size"):
        refuse(item(without, phantom.affine))
    speck = without.copy()
    speck[tuple(np.argwhere(phantom.labels == STEM)[0])] = STEM
    with pytest.raises(CaseError, match="Brainstem .0.1 ml."):
        refuse(item(speck, phantom.affine))
    RefuseOtherRegiond("pred", TABLE, check=False)(item(without, phantom.affine))


def test_volumes_that_no_patient_has_are_said() -> None:
    phantom = head()
    assert volume_warnings(organ_volumes(phantom.labels, phantom.affine, TABLE), TABLE) == []
    grown = phantom.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    lines = volume_warnings(organ_volumes(phantom.labels, grown, TABLE), TABLE)
    assert any(line.startswith("Brainstem has ") and line.endswith("ml, patients have 5 to 50") for line in lines)
    assert volume_warnings(dict.fromkeys(TABLE.names, 0.0), TABLE) == [], "what was not found is said elsewhere"


def infer(ct: Path, output: Path) -> tuple[int, str]:
    done = run_quickly(bundle_command(BUNDLE, "inference", {"dataset_dir": ct, "output_dir": output}), BUNDLE)
    return done.returncode, done.stdout


def test_the_chest_ct_is_refused(tmp_path: Path) -> None:
    code, log = infer(example_ct(), tmp_path / "out")
    assert code == 1 and f"{example_ct().name}: shows no Brainstem" in log and "Traceback" not in log
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("torso/abdomen_ircadb-17", False), ("torso/chest_LUNG1-001", False), ("neck/neck_gate", True)],
)
def test_real_bodies(tmp_path: Path, name: str, accepted: bool) -> None:
    root = os.environ.get("BUNDLES_DATA", "")
    path = Path(root) / f"{name}.nii.gz"
    if not root or not path.exists():
        pytest.skip(f"BUNDLES_DATA names no folder with {name}")
    code, log = infer(path, tmp_path)
    assert (code == 0) == accepted and ("shows no Brainstem" in log) != accepted
