"""Eight organs with names of their own, from one data file and options alone: training, inference, evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from bundles.han_segmentation.scripts.cases import find_han_cases
from bundles.han_segmentation.scripts.contours import read_han_case
from bundles.han_segmentation.scripts.organs import read_organs, relabel
from shared.io.errors import CaseError
from tests.han_segmentation.commands import execute
from tests.han_segmentation.heads import NUMBERS, head, nifti_folder

ORIGINS = {  # own name: organ of the phantom
    "Stem": "Brainstem",
    "Myelon": "SpinalCord",
    "Jaw": "Bone_Mandible",
    "Gland_li": "Parotid_L",
    "Gland_re": "Parotid_R",
    "Mouth": "Cavity_Oral",
    "Voice_box": "Larynx_SG",
    "Shield": "Glnd_Thyroid",
}
NETWORK = {"network_def#widths": [4, 4, 8], "network_def#num_heads": 2, "spacing_mm": 8.0, "crop_size": [32, 32, 32]}


def write_table(path: Path) -> Path:
    """A table of the eight, in two windows."""
    organs: list[dict] = [{"name": name} for name in ORIGINS]
    organs[0] |= {"volume_ml": [0.5, 90], "colour": [10, 200, 30]}
    document = {"windows_hu": [[-150, 250], [-400, 1200]], "organs": organs, "pairs": [["Gland_li", "Gland_re"]]}
    path.write_text(json.dumps(document))
    return path


def write_own_case(folder: Path) -> None:
    """The phantom with label maps of the eight."""
    nifti_folder(folder.parent, folder.name)
    table = {NUMBERS[origin]: number for number, origin in enumerate(ORIGINS.values(), start=1)}
    labels = nibabel.Nifti1Image(relabel(head(missing=2).labels, table), head(missing=2).affine)
    nibabel.save(labels, folder / "labels.nii.gz")
    (folder / "labels.json").write_text(json.dumps({"contoured": list(ORIGINS)}))


def test_training_inference_and_evaluation(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        write_own_case(tmp_path / "cases" / part / f"of_{part}")
    common = {**NETWORK, "organs_file": write_table(tmp_path / "mine.json"), "dataset_dir": tmp_path / "cases"}
    train = {"epochs": 2, "samples_per_epoch": 2, "val_interval": 1, "phantoms": 0, "cache_dir": tmp_path / "cache"}
    execute(["train.json"], {**common, **train, "output_dir": tmp_path / "runs"})
    weights = torch.load(tmp_path / "runs" / "model.pt", weights_only=True)
    assert weights["head.bias"].shape == (9,)
    looks = {"ckpt_path": tmp_path / "runs" / "model.pt", "fine_ckpt_path": "", "ensemble_ckpt_paths": []}
    execute(["inference.json", "evaluate.json"], {**common, **looks, "output_dir": tmp_path / "eval"})
    document = json.loads((tmp_path / "eval" / "of_validation_segmentation.json").read_text())
    assert list(document["labels"].values()) == list(ORIGINS) and set(document["learned_from"].values()) == {"patients"}
    assert set(document["volumes_ml"]) <= set(ORIGINS)
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert {line["organ"] for line in metrics["organs"]} <= set(ORIGINS) and len(metrics["organs"]) >= 6


def test_label_maps_with_other_numbers_are_read_by_name(tmp_path: Path) -> None:
    """A phantom's labels have the numbers of HaN-Seg; a table that counts otherwise takes its own organs from them."""
    nifti_folder(tmp_path / "cases")
    names = ["SpinalCord", "Brainstem", "Lips"]
    (tmp_path / "mine.json").write_text(
        json.dumps({"windows_hu": [[0, 1]], "organs": [{"name": name} for name in names], "other_contours": "ignore"})
    )
    table = read_organs(tmp_path / "mine.json")
    (item,) = find_han_cases(tmp_path / "cases", table)
    case = read_han_case(item, table)
    truth = head(missing=2).labels
    known = [name for name in names if NUMBERS[name] in head(missing=2).contoured]
    assert case.labels is not None and sorted(table.names[n] for n in case.valid) == sorted(known)
    found = np.asarray(nibabel.load(item["labels"]).dataobj)
    for name in known:
        assert ((found == NUMBERS[name]) == (truth == NUMBERS[name])).all()
    foreign = tmp_path / "cases" / "patient" / "labels.json"
    foreign.write_text(json.dumps({"labels": {"1": "Nose"}}))
    with pytest.raises(CaseError, match="names none of the organs of the table; known are SpinalCord"):
        read_han_case(item, table)
