"""Contract data of the bundle xray_to_ct_clustering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from bundles.xray_to_ct_clustering.scripts.phantoms import write_phantoms
from tests.bundles.bad_input import empty_folder, inference_calls, picture, write_colour, write_truncated
from tests.bundles.spec import BadCall, BadInput, BundleSpec, Data

CASES = ("phantom_09000", "phantom_09001")
# as many parts as the shipped network and more clusters than the rank of the bias: weights of the same names
SMALL = {
    "spacing_mm": 20.0,
    "geometry#rows": 32,
    "geometry#columns": 32,
    "geometry#pixel_mm": 12.8,
    "volume_size": [16, 16, 16],
    "network_def#generator#num_clusters": 16,
    "network_def#generator#voxel_dim": 16,
    "network_def#generator#image_channels": [8, 8, 8, 8],
}


def make_data(bundle: Path, folder: Path) -> Data:
    """Two CTs of phantoms to train on, X-rays of two others for inference."""
    cts = folder / "patients" / "cts"
    write_phantoms(str(cts.parent), 2, 60, fine_mm=5.0)
    write_phantoms(str(folder / "pairs"), len(CASES), 9000, fine_mm=5.0)
    return Data(
        train={"dataset_dir": cts},
        inference={"dataset_dir": folder / "pairs" / "xrays"},
        evaluate={"dataset_dir": folder / "pairs" / "xrays", "truth_dir": folder / "pairs" / "truth"},
        cases=CASES,
    )


def check_result(content: Mapping[str, Any]) -> None:
    """A cube around the origin, in RAS mm; every cluster named; a verdict with its reasons."""
    affine = np.array(content["affine"])
    np.testing.assert_allclose(affine[:3, :3], np.diag([content["mm_per_voxel"]] * 3))
    middle = (np.array(content["size"]) - 1) / 2
    np.testing.assert_allclose(affine[:3, :3] @ middle + affine[:3, 3], 0, atol=1e-6)
    assert sum(row["voxels"] for row in content["clusters"]) == np.prod(content["size"])
    assert content["labels"] == {str(row["label"]): row["name"] for row in content["clusters"]}
    assert set(content["similarity"]) == set(content["views"]) == {"frontal", "lateral"}
    assert all(-1 <= value <= 1 for value in content["similarity"].values())
    assert content["accepted"] == (not content["reasons"]) and set(content["reasons"]) <= set(content["warnings"])
    assert content["mean_uncertainty_hu"] > 0


def beside(write: Callable[[Path], object]) -> Callable[[Path], None]:
    """A bad X-ray whose other view is a whole picture."""

    def make(path: Path) -> None:
        write(path)
        other = "lateral" if path.name.startswith("frontal") else "frontal"
        picture((200, 300), seed=1).save(path.with_name(f"{other}.png"))

    return make


def write_nan(path: Path) -> None:
    values = np.random.default_rng(0).random((200, 300), dtype=np.float32)
    values[50:60] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


BAD_INPUTS = (
    BadInput("text/frontal.png", beside(lambda p: p.write_text("not a picture")), "is no image"),
    BadInput("truncated/lateral.jpg", beside(write_truncated), "cut off or damaged"),
    BadInput("black/lateral.png", beside(lambda p: Image.new("L", (200, 300), 0).save(p)), "blank"),
    BadInput("colour/frontal.png", beside(write_colour), "colour picture"),
    BadInput("nan/frontal.nii.gz", beside(write_nan), "(?i)nan|not finite|no number"),
    BadInput("alone_frontal.png", lambda p: picture((200, 300)).save(p), "lateral X-ray missing"),
    BadInput("halved_lateral.png", lambda p: picture((200, 300)).save(p), "frontal X-ray missing"),
    BadInput("twice/lateral.png", beside(lambda p: picture((200, 300), seed=1).save(p)), "same picture"),
)

BAD_CALLS = (
    *inference_calls("radiograph"),
    BadCall("no_cts", "train", empty_folder, "empty: holds no volume"),
    BadCall("no_truth", "evaluate", lambda f: {"truth_dir": f}, "holds no volume"),
    BadCall("unknown_case", "train", lambda f: {"validation_cases": ["nobody"]}, "holds no case nobody"),
)

SPEC = BundleSpec(
    make_data=make_data,
    train={
        **SMALL,
        "fine_mm": 10.0,
        "amp": False,
        "pairs_per_epoch": 4,
        "validation_phantoms": 2,
        "example": False,
        "evolution": False,  # its pictures are counted by epochs, those of two runs differ
        "num_workers": 0,
    },
    early_stop={"learning_rate": 0, "patience": 1},
    inference={**SMALL, "refuse": False},  # two epochs do not make a chest of anything
    results=(
        "{case}_ct.nii.gz",
        "{case}_clusters.nii.gz",
        "{case}_uncertainty.nii.gz",
        "{case}_confidence.nii.gz",
        "{case}_volume.json",
        "{case}_preview.png",
    ),
    run_results=(),
    preview="{case}_preview.png",
    check_result=check_result,
    metric=("summary", "psnr"),
    tensorboard=("train_loss", "psnr", "loss_cluster", "position_accuracy"),
    different_defaults={
        "amp": "training is in bfloat16, as the shipped weights were; inference in full precision",
        "refuse": "an evaluation measures the cases that fail the checks as well",
    },
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
)
