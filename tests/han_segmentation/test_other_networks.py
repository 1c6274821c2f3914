"""The networks beside the default one, from training to result, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from shared.io.itk_images import write_image
from tests.han_segmentation.commands import execute
from tests.han_segmentation.heads import nifti_folder

MEMBER = {"ensemble_network_def#widths": [4, 4, 8], "ensemble_network_def#num_heads": 2}
FIRST = {"network_def#widths": [4, 4, 8], "network_def#num_heads": 2, "spacing_mm": 8.0, "crop_size": [32, 32, 32]}
TRAIN = {"samples_per_epoch": 2, "epochs": 1, "val_interval": 1, "phantoms": 0, "num_workers": 0}


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
    looks["check_region"] = False  # one epoch finds no brainstem
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
    more = {"cache_dir": tmp_path / "cache", "epochs": 1, "val_interval": 10, "output_dir": tmp_path / "runs"}
    execute(["train.json", "train_slices.json"], {**small, **more})  # validated after its last epoch all the same
    weights = {"ckpt_path": tmp_path / "runs" / "model.pt", "check_region": False}
    options = {**small, **weights, "output_dir": tmp_path / "eval"}
    assert "mean Dice" in execute(["inference.json", "inference_slices.json", "evaluate.json"], options)


def test_pet_beside_ct_and_mr(heads: Path, tmp_path: Path) -> None:
    """A further modality is read, resampled and joined in preparation, training, evaluation and inference."""
    for folder in (heads / "train" / "of_train", heads / "validation" / "of_validation"):
        ct = sitk.ReadImage(str(folder / "ct.nii.gz"))
        uptake = sitk.Clamp(sitk.Cast(ct, sitk.sitkFloat32), lowerBound=0.0, upperBound=100.0)
        write_image(sitk.Shrink(uptake, [2, 2, 2]), folder / "pet.nii.gz")
    common = {**FIRST, "modalities": ["pet"], "dataset_dir": heads}
    cache = {"cache_dir": tmp_path / "cache"}
    kept = {"modalities": ["pet"], "spacing_mm": 8.0, "dataset_dir": heads / "train"}
    execute(["preprocess.json"], {**kept, **cache})
    prepared = next((tmp_path / "cache").glob("of_train-*"))
    execute(["train.json"], {**common, **TRAIN, **cache, "output_dir": tmp_path / "runs"})
    assert len(list((tmp_path / "cache").glob("of_train-*"))) == 1 and prepared.exists(), "prepared once"
    weights = tmp_path / "runs" / "model.pt"
    assert torch.load(weights, weights_only=True)["mr_encoder.0.unit.conv.unit0.conv.weight"].shape[1] == 3
    looks = {**common, "ckpt_path": weights, "fine_ckpt_path": "", "ensemble_ckpt_paths": [], "check_region": False}
    execute(["inference.json", "evaluate.json"], {**looks, "organs": "all", "output_dir": tmp_path / "eval"})
    pet = heads / "validation" / "of_validation" / "pet.nii.gz"
    write_image(sitk.ReadImage(str(pet))[::-1], pet)
    new = {**looks, "organs": "all", "dataset_dir": heads / "validation", "output_dir": tmp_path / "out"}
    execute(["inference.json"], new)
    found = [
        json.loads((tmp_path / name / "of_validation_segmentation.json").read_text())["volumes_ml"]
        for name in ("eval", "out")
    ]
    assert found[0] != found[1], "the PET changes nothing"
