"""Contract data of the bundle hand_landmarks."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.bundles.bad_input import inference_calls, picture, write_colour, write_truncated
from tests.bundles.processes import run
from tests.bundles.result_forms import check_landmarks
from tests.bundles.spec import BadCall, BadInput, BundleSpec, Data

LANDMARKS = 37
CASES = ("hand_0004", "hand_0009")  # every fifth phantom is for validation
SMALL = {"canvas_size": [96, 128], "input_size": [48, 64], "network_def#width": 4, "network_def#spatial_kernel_size": 3}


def make_data(bundle: Path, folder: Path) -> Data:
    """Ten phantoms with landmarks; inference sees the two of the validation split."""
    options = ["--output_dir", str(folder / "hands"), "--count", "10", "--size", "192"]
    done = run([sys.executable, "-m", "scripts.phantoms", *options], bundle)
    assert done.returncode == 0, done.stdout
    (folder / "new").mkdir()
    for case in CASES:
        shutil.copy(folder / "hands" / f"{case}.png", folder / "new")
    annotated = {"dataset_dir": folder / "hands", "landmarks": folder / "hands" / "landmarks.csv"}
    return Data(train=annotated, inference={"dataset_dir": folder / "new"}, evaluate=annotated, cases=CASES)


def check_result(content: Mapping[str, Any]) -> None:
    check_landmarks(content, LANDMARKS, dims=2)
    assert content["side"] in ("left", "right")
    assert content["pixel_size"]["from"] and content["pixel_size"]["mm"] == content["mm_per_pixel"]


def write_nan(path: Path) -> None:
    values = np.random.default_rng(0).random((200, 300), dtype=np.float32)
    values[50:60] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def write_dicom_without_pixels(path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["hand"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality = "CR"
    data.save_as(path, enforce_file_format=True)


BAD_INPUTS = (
    BadInput("text.png", lambda p: p.write_text("not a picture"), "is no image"),
    BadInput("truncated.jpg", write_truncated, "cut off or damaged"),
    BadInput("black.png", lambda p: Image.new("L", (200, 300), 0).save(p), "blank"),
    BadInput("white.png", lambda p: Image.new("L", (200, 300), 255).save(p), "blank"),
    BadInput("colour.png", write_colour, "colour picture"),
    BadInput("tiny.png", lambda p: picture((16, 16)).save(p), "16 x 16 pixels"),
    BadInput("strip.png", lambda p: picture((20000, 300)).save(p), "20000 x 300 pixels"),
    BadInput("nan.nii.gz", write_nan, "(?i)nan|not finite|no number"),
    BadInput("no_pixels.dcm", write_dicom_without_pixels, "no pixels"),
)


def table(folder: Path, rows: list[list[str]]) -> Mapping[str, Any]:
    header = ["image", "split", *(f"{axis}{i}" for i in range(LANDMARKS) for axis in "xy")]
    with open(folder / "landmarks.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return {"landmarks": folder / "landmarks.csv"}


BAD_CALLS = (
    *inference_calls("radiograph"),
    BadCall("short_row", "evaluate", lambda f: table(f, [["hand_0004", "validation", "1.0"]]), "landmarks.csv: .*;"),
    BadCall("no_rows", "evaluate", lambda f: table(f, []), "landmarks.csv: .*;"),
    BadCall("no_table", "train", lambda f: {"landmarks": f / "none.csv"}, "none.csv: .*;"),
)

SPEC = BundleSpec(
    make_data=make_data,
    train={**SMALL, "batch_size": 2, "num_workers": 0, "phantoms": 0, "val_interval": 1, "warmup_epochs": 1},
    early_stop={"learning_rate": 0, "patience": 1},
    inference={**SMALL, "min_score": 0},  # two epochs do not make a hand of anything
    results=("{case}_landmarks.json", "{case}_overlay.png", "{case}_landmarks.nii.gz"),
    run_results=(),
    preview="{case}_overlay.png",
    check_result=check_result,
    metric=("summary", "pe_mean_mm"),
    tensorboard=("train_loss", "pe_mm"),
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
)
