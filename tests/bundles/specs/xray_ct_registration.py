"""Contract data of the bundle xray_ct_registration."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from bundles.xray_ct_registration.scripts.pose_space import PoseSpace
from bundles.xray_ct_registration.scripts.simulate import simulate_cases
from tests.bundles.bad_input import empty_folder, inference_calls, picture, write_colour, write_truncated
from tests.bundles.spec import BadCall, BadInput, BundleSpec, Data
from tests.xray_ct_registration.patient import DETECTOR, patient, volume

CASES = ("xray_000", "xray_001")
SPACE = {"range_deg": [10.0, 5.0, 5.0], "range_mm": [20.0, 40.0, 20.0], "input_size": 128}
NETWORK = {"network_def#channels": [8, 8, 8, 8], "network_def#hidden": 16, "network_def#grid": 2}
QUICK = {
    "schedule#starts": 4,
    "schedule#coarse": [2.0, 6],
    "schedule#middle": [2.0, 4],
    "schedule#keep": 2,
    "schedule#settle": 4,
    "schedule#fine": [[1.0, 6]],
    "schedule#spread": 2,
}


def make_data(bundle: Path, folder: Path) -> Data:
    """A small patient, and two X-rays of it with known poses."""
    ct, xrays = folder / "cts" / "patient.nii.gz", folder / "xrays"
    ct.parent.mkdir(parents=True)
    image = volume()
    nib.save(nib.Nifti1Image(image[0].numpy().astype(np.int16), image.affine.numpy()), ct)
    space = PoseSpace(range_deg=SPACE["range_deg"], range_mm=SPACE["range_mm"])
    simulate_cases(patient(), xrays, space, DETECTOR, len(CASES), backend="joseph", degrade=False)
    shutil.move(xrays / "truth", folder / "truth")
    return Data(
        train={"dataset_dir": ct.parent},
        inference={"dataset_dir": xrays, "ct": ct},
        evaluate={"dataset_dir": xrays, "ct": ct, "truth_dir": folder / "truth"},
        cases=CASES,
    )


def check_result(content: Mapping[str, Any]) -> None:
    """The form of a pose: a rigid camera, and a projection matrix that is its own and the intrinsics' product."""
    pose = torch.tensor(content["camera_to_world"], dtype=torch.float64)
    turn = pose[:3, :3]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert float(torch.linalg.det(turn)) > 0 and pose[3].tolist() == [0, 0, 0, 1]
    intrinsics = torch.tensor(content["intrinsics"], dtype=torch.float64)
    product = intrinsics @ torch.linalg.inv(pose)[:3]
    found = torch.tensor(content["projection_matrix"], dtype=torch.float64)
    torch.testing.assert_close(found / found.norm(), product / product.norm(), atol=1e-6, rtol=0)
    assert content["sdd"] > 0 and {"rows", "columns"} <= set(content["detector"])
    assert isinstance(content["confidence"]["accepted"], bool)
    assert content["confidence"]["accepted"] or content["warnings"]


def no_ct(folder: Path) -> Mapping[str, Any]:
    return {"ct": folder / "none.nii.gz"}


def picture_for_a_ct(folder: Path) -> Mapping[str, Any]:
    picture((64, 64)).save(folder / "picture.png")
    return {"ct": folder / "picture.png"}


def air_for_a_ct(folder: Path) -> Mapping[str, Any]:
    values = np.full((8, 8, 8), -1000, dtype=np.int16)
    values[0, 0, 0] = -990
    nib.save(nib.Nifti1Image(values, np.eye(4)), folder / "air.nii.gz")
    return {"ct": folder / "air.nii.gz"}


BAD_INPUTS = (
    BadInput("text.png", lambda p: p.write_text("not a picture"), "is no image"),
    BadInput("truncated.jpg", write_truncated, "cut off or damaged"),
    BadInput("black.png", lambda p: Image.new("L", (200, 300), 0).save(p), "blank"),
    BadInput("colour.png", write_colour, "colour picture"),
    BadInput("no_geometry.png", lambda p: picture((200, 300)).save(p), "sdd"),
)

BAD_CALLS = (
    *inference_calls("radiograph"),
    BadCall("no_ct", "inference", no_ct, "none.nii.gz: no such CT"),
    BadCall("picture_for_a_ct", "inference", picture_for_a_ct, "picture.png: .*;"),
    BadCall("air_for_a_ct", "inference", air_for_a_ct, "air.nii.gz: holds nothing but air"),
    BadCall("no_truth", "evaluate", lambda f: {"truth_dir": f / "nowhere"}, "nowhere: no such folder"),
    BadCall("no_results", "evaluate", empty_folder, "empty: holds no radiograph"),
    BadCall("no_cts", "train", empty_folder, "empty: holds no"),
)

SPEC = BundleSpec(
    make_data=make_data,
    train={
        **NETWORK,
        **SPACE,
        "batch_size": 2,
        "samples_per_epoch": 4,
        "validation_poses": 2,
        "spacing_mm": 10.0,
        "num_workers": 0,
    },
    early_stop={"learning_rate": 0, "patience": 1},
    different_defaults={"range_mm": "the network learns from a wider range than its answers are searched around"},
    inference={**NETWORK, **SPACE, **QUICK},
    results=tuple(
        f"{{case}}{name}"
        for name in ("_pose.json", "/parameters.pt", "/gt.png", "/init_image.png", "/final_img.png", "/preview.png")
    ),
    run_results=(),
    preview="{case}/preview.png",
    check_result=check_result,
    metric=("summary", "mtre_mm_median"),
    tensorboard=("train_loss", "mtre_mm"),
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
)
