"""The networks beside the default one, from training to result, as a user runs them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bundles.processes import option_arguments, run_quickly
from tests.han_segmentation.heads import nifti_folder

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "han_segmentation"
MEMBER = {"ensemble_network_def#widths": [4, 4, 8], "ensemble_network_def#num_heads": 2}
FIRST = {"network_def#widths": [4, 4, 8], "network_def#num_heads": 2, "spacing_mm": 8.0, "crop_size": [32, 32, 32]}
TRAIN = {"samples_per_epoch": 2, "epochs": 1, "val_interval": 1, "phantoms": 0, "num_workers": 0}


def execute(configs: Sequence[str], options: Mapping[str, Any]) -> str:
    """What a command that must succeed prints."""
    files = str([f"configs/{name}" for name in configs])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, *option_arguments(options)]
    done = run_quickly(command, BUNDLE)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients that are one and the same."""
    root = tmp_path_factory.mktemp("heads")
    for part in ("train", "validation"):
        nifti_folder(root / part, f"of_{part}")
    return root


def test_members_of_the_ensemble(heads: Path, tmp_path: Path) -> None:
    """A member is trained, evaluated with the first look, and changes what inference finds."""
    options = {**FIRST, **TRAIN, "dataset_dir": heads, "cache_dir": tmp_path / "cache"}
    options["output_dir"] = tmp_path / "member"
    execute(["train.json", "train_ensemble.json"], {**options, **MEMBER, "network_def#widths": [9, 9]})
    member = tmp_path / "member" / "model.pt"
    assert torch.load(member, weights_only=True)["head.bias"].shape == (6,)
    execute(["train.json"], {**options, "output_dir": tmp_path / "first"})
    looks = {**FIRST, **MEMBER, "ckpt_path": tmp_path / "first" / "model.pt", "fine_ckpt_path": ""}
    for name, members in (("alone", []), ("both", [str(member)])):
        given = {**looks, "dataset_dir": heads, "output_dir": tmp_path / name, "ensemble_ckpt_paths": members}
        execute(["inference.json", "evaluate.json"], given)
    results = [
        json.loads((tmp_path / name / "of_validation_segmentation.json").read_text())["volumes_ml"]
        for name in ("alone", "both")
    ]
    assert results[0] != results[1]
    assert all((tmp_path / name / "organs.csv").is_file() for name in ("alone", "both"))


def test_slices(heads: Path, tmp_path: Path) -> None:
    small = {
        "slice_size": 64,
        "spacing_mm": 8.0,
        "slice_network_def#patch_size": 8,
        "slice_network_def#embed_dim": 32,
        "slice_network_def#depth": 1,
        "dataset_dir": heads,
    }
    cache = {"cache_dir": tmp_path / "cache"}
    execute(["train.json", "train_slices.json"], {**small, **TRAIN, **cache, "output_dir": tmp_path / "runs"})
    weights = {"ckpt_path": tmp_path / "runs" / "model.pt"}
    options = {**small, **weights, "output_dir": tmp_path / "eval"}
    assert "mean Dice" in execute(["inference.json", "inference_slices.json", "evaluate.json"], options)
