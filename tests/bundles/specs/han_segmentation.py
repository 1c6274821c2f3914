"""Contract data of the bundle han_segmentation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bundles.han_segmentation.scripts.phantoms import make_head_neck
from bundles.han_segmentation.scripts.phantoms.dataset import write_nifti_case
from bundles.han_segmentation.scripts.phantoms.names import NAMES
from tests.bundles.bad_input import inference_calls
from tests.bundles.spec import BadCall, BadInput, BundleSpec, Data
from tests.bundles.spine_cases import FLOAT32, write_blank, write_nan, write_series, write_slice, write_truncated
from tests.han_segmentation.heads import TABLE

LOW_MM, HIGH_MM = (-100.0, -110.0, -130.0), (100.0, 115.0, 110.0)
SPACING_MM = 6.0
TRAIN_SEEDS, HELD_SEEDS = (50, 51, 52), (53, 54)


def write_patient(folder: Path, seed: int, with_mr: bool) -> None:
    """A small head, with or without MR."""
    spacing = (SPACING_MM,) * 3
    phantom = make_head_neck(seed, spacing, spacing, with_mr=with_mr, low_mm=LOW_MM, high_mm=HIGH_MM)
    write_nifti_case(phantom, folder)


def make_data(bundle: Path, folder: Path) -> Data:
    """Five heads, every second one with MR; inference sees the two that are held back, without labels."""
    heads, new = folder / "heads", folder / "new"
    for part, seeds in (("train", TRAIN_SEEDS), ("validation", HELD_SEEDS)):
        for seed in seeds:
            write_patient(heads / part / f"head_{seed}", seed, with_mr=seed % 2 == 0)
    for seed in HELD_SEEDS:
        (new / f"head_{seed}").mkdir(parents=True)
        for name in ("ct.nii.gz", "mr_t1.nii.gz"):
            if (heads / "validation" / f"head_{seed}" / name).exists():
                shutil.copy(heads / "validation" / f"head_{seed}" / name, new / f"head_{seed}" / name)
    return Data(
        train={"dataset_dir": heads, "cache_dir": folder / "cache"},
        inference={"dataset_dir": new},
        evaluate={"dataset_dir": heads},
        cases=tuple(f"head_{seed}" for seed in HELD_SEEDS),
    )


def check_result(content: Mapping[str, Any]) -> None:
    """The JSON beside a label map: all names, volumes of organs of these names, what became of the MR, warnings."""
    assert {"case", "labels", "learned_from", "volumes_ml", "mr", "orientation", "warnings"} <= set(content)
    learned_from = {organ.name: organ.learned_from for organ in TABLE.organs}
    patients = {str(number): name for number, name in NAMES.items() if learned_from[name] == "patients"}
    assert content["labels"] in (
        patients,
        {str(number): name for number, name in NAMES.items()},
    )  # organs: patients, all
    assert content["learned_from"] == {name: learned_from[name] for name in content["labels"].values()}
    assert set(content["volumes_ml"]) <= set(content["labels"].values())
    assert all(volume > 0 for volume in content["volumes_ml"].values())
    assert isinstance(content["mr"]["used"], bool) and content["mr"]["used"] == content["case"].endswith("head_54")
    assert all(isinstance(warning, str) for warning in content["warnings"])


def write_positive(path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (30, 30, 30)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([4.0, 4.0, 4.0, 1.0])), path)


def write_broken_mr(path: Path) -> None:
    write_patient(path.parent, HELD_SEEDS[0], with_mr=False)
    path.write_bytes(b"nothing")


BAD_INPUTS = (
    BadInput("slice/ct.nii.gz", write_slice, "single slice"),
    BadInput("series/ct.nii.gz", write_series, "time series"),
    BadInput("nan/ct.nii.gz", write_nan, "(?i)nan|not finite|no number"),
    BadInput("truncated/ct.nii.gz", write_truncated, "no whole NIfTI file"),
    BadInput("blank/ct.nii.gz", write_blank, "blank"),
    BadInput("positive/ct.nii.gz", write_positive, "no CT in HU"),
    BadInput("broken_mr/mr.nii.gz", write_broken_mr, "no whole NIfTI file"),
)

BAD_CALLS = (
    *inference_calls("volume"),
    BadCall("one_mr_for_two", "inference", lambda f: {"mr": f / "mr.nii.gz"}, "is one MR for 2 cases"),
    BadCall("no_organ", "inference", lambda f: {"attention": "Nose"}, "--attention: is 'Nose'"),
    BadCall("no_choice", "inference", lambda f: {"organs": "some"}, "--organs: is 'some'"),
    BadCall("no_table", "inference", lambda f: {"organs_file": f / "none.json"}, "none.json: cannot be read"),
    BadCall("no_switch", "inference", lambda f: {"use_mr": "perhaps"}, "--use_mr: is 'perhaps'"),
)

# the shipped second look and members of the ensemble go with the shipped first look; three epochs find no brainstem
ONE_LOOK = {"fine_ckpt_path": "", "ensemble_ckpt_paths": [], "organs": "all", "check_region": False}
NETWORK = {"network_def#widths": [6, 6, 6, 6, 8], "network_def#num_heads": 2}

SPEC = BundleSpec(
    make_data=make_data,
    train={
        **NETWORK,
        **FLOAT32,
        "spacing_mm": 8.0,
        "crop_size": [32, 32, 32],
        "samples_per_epoch": 4,
        "phantoms": 0,
        "val_interval": 1,
        "num_workers": 0,
    },
    early_stop={"learning_rate": 0, "patience": 1},
    inference={**NETWORK, **ONE_LOOK, "spacing_mm": 8.0, "crop_size": [32, 32, 32]},
    results=("{case}_segmentation.nii.gz", "{case}_segmentation.json", "{case}_preview.png"),
    run_results=(),
    preview="{case}_preview.png",
    check_result=check_result,
    metric=("summary", "dice_mean"),
    tensorboard=("train_loss", "dice"),
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
    verify={"n": 2},  # a single voxel at the bottleneck cannot be normalised
)
