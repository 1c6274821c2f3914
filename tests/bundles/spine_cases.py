"""Contract data that the three bundles of the vertebra pipeline share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from shared.phantoms.torso import write_torso_dataset
from shared.spine.dataset import read_cases, split_cases
from shared.spine.labels import VERTEBRA_LABELS
from tests.bundles.bad_input import inference_calls
from tests.bundles.spec import BadCall, BadInput, Data

PATIENTS, FIRST_SEED, FOLDS = 4, 40, 2
# on a CPU the bfloat16 gradient of a 3-D convolution over 2 x 2 x 4 voxels holds uninitialised memory (torch 2.13)
FLOAT32 = {"amp": False}
LABEL_NAMES = {label: name for name, label in sorted(VERTEBRA_LABELS.items(), key=lambda item: item[1])}


def make_data(folder: Path) -> Data:
    """Four short torsos of 4 mm; inference sees the two that are held back for validation, with their centroids."""
    torsos, new = folder / "torsos", folder / "new"
    table = write_torso_dataset(
        str(torsos), PATIENTS, FIRST_SEED, 4.0, ("T11", "L3"), False, orientation="random", field_of_view="spine"
    )
    held = split_cases(read_cases(table), "val", 0, FOLDS)
    new.mkdir()
    (folder / "centroids").mkdir()
    for case in held:
        assert case.centroids is not None
        shutil.copy(case.image, new / f"{case.name}.nii.gz")
        shutil.copy(case.centroids, folder / "centroids" / f"{case.name}_ctd.json")
    annotated = {"dataset_dir": torsos, "num_folds": FOLDS, "fold": 0}
    return Data(train=annotated, inference={"dataset_dir": new}, evaluate=annotated, cases=tuple(c.name for c in held))


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)


def write_slice(path: Path) -> None:
    nib.save(nib.Nifti1Image(noise((40, 40)), np.eye(4)), path)


def write_series(path: Path) -> None:
    nib.save(nib.Nifti1Image(noise((12, 12, 12, 3)), np.eye(4)), path)


def write_nan(path: Path) -> None:
    values = noise((20, 20, 20))
    values[5] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def write_truncated(path: Path) -> None:
    nib.save(nib.Nifti1Image(noise((40, 40, 40)), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:5000])


def write_blank(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 20), np.int16), np.eye(4)), path)


BAD_INPUTS = (
    BadInput("slice.nii.gz", write_slice, "single slice"),
    BadInput("series.nii.gz", write_series, "time series"),
    BadInput("nan.nii.gz", write_nan, "(?i)nan|not finite|no number"),
    BadInput("truncated.nii.gz", write_truncated, "no whole NIfTI file"),
    BadInput("blank.nii.gz", write_blank, "blank"),
)


def table_of(folder: Path, text: str) -> Mapping[str, Any]:
    (folder / "cases.csv").write_text(text)
    return {"table": folder / "cases.csv"}


HEADER = "name,type,image_path,mask_path,centroid_json_path\n"

BAD_CALLS = (
    *inference_calls("volume"),
    BadCall("no_table", "train", lambda f: {"table": f / "none.csv"}, "none.csv: no such table"),
    BadCall("no_rows", "train", lambda f: table_of(f, HEADER), "cases.csv: lists no case"),
    BadCall(
        "lost_image", "train", lambda f: table_of(f, HEADER + "a,,none.nii.gz,,\n"), "none.nii.gz: named in line 2"
    ),
    BadCall("no_such_fold", "train", lambda f: {"fold": 7}, "--fold: is 7"),
)
