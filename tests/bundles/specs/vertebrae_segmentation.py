"""Contract data of the bundle vertebrae_segmentation: its own stage alone, the landmarks are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shared.geometry.heatmaps import gaussian_heatmaps
from tests.bundles.result_forms import check_landmarks
from tests.bundles.spec import BundleSpec, Data
from tests.bundles.spine_cases import BAD_CALLS, BAD_INPUTS, FLOAT32, LABEL_NAMES, make_data

NETWORK = {"network_def#width": 4}
MARK_SIGMA = 2.5  # voxels


def data_of(bundle: Path, folder: Path) -> Data:
    data = make_data(folder)
    given = {"landmarks": folder / "centroids"}
    return dataclasses.replace(data, inference={**data.inference, **given}, evaluate={**data.evaluate, **given})


def marked(noise: torch.Tensor) -> torch.Tensor:
    """Crops whose second channel marks one vertebra, as it always does.

    Marks everywhere drive the logits to 70 and more, where float32 itself is off by more than 1e-4 from float64.
    """
    crops = noise.clone()
    size = tuple(noise.shape[2:])
    centre = (torch.tensor(size, dtype=torch.float32) - 1) / 2
    crops[:, 1:] = gaussian_heatmaps(centre[None, None], size, MARK_SIGMA)
    return crops


def check_result(content: Mapping[str, Any]) -> None:
    if "landmarks" in content:
        check_landmarks(content, len(content["landmarks"]), dims=3)


SPEC = BundleSpec(
    make_data=data_of,
    train={**NETWORK, **FLOAT32, "crop_size": [32, 32, 32], "spacing_mm": 4.0, "num_workers": 0},
    early_stop={"learning_rate": 0, "patience": 1},
    inference={**NETWORK, "crop_size": [32, 32, 32], "spacing_mm": 4.0},
    results=(
        "{case}_landmarks.json",
        "{case}_vertebrae.csv",
        "{case}_vertebrae.json",
        "{case}_preview.png",
        "{case}_segmentation.nii.gz",
    ),
    run_results=(),
    preview="{case}_preview.png",
    check_result=check_result,
    metric=("summary", "strict", "dice_mean"),
    tensorboard=("train_loss", "dice"),
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
    label_names=LABEL_NAMES,
    network_input=marked,
)
