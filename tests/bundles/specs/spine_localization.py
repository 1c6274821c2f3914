"""Contract data of the bundle spine_localization."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bundles.spec import BundleSpec, Data
from tests.bundles.spine_cases import BAD_CALLS, BAD_INPUTS, FLOAT32, make_data

NETWORK = {"network_def#width": 4}
ANYTHING = {"min_peak": -1e9}  # two epochs do not make a spine of anything


def data_of(bundle: Path, folder: Path) -> Data:
    data = make_data(folder)
    return dataclasses.replace(data, evaluate={**data.evaluate, **ANYTHING})


def check_result(content: Mapping[str, Any]) -> None:
    """Centroid inside its box, both in world LPS millimetres."""
    assert {"case", "frame", "centroid", "box", "confidence", "warnings"} <= set(content)
    for axis in "xyz":
        assert content["box"]["low"][axis] <= content["centroid"][axis] <= content["box"]["high"][axis]
    assert 0 <= content["confidence"] <= 1


SPEC = BundleSpec(
    make_data=data_of,
    train={**NETWORK, **FLOAT32, "crop_size": [16, 16, 32], "batch_size": 2, "num_workers": 0},
    early_stop={"learning_rate": 0, "patience": 1},
    inference={**NETWORK, **ANYTHING},
    results=("{case}_spine_centroid.json", "{case}_spine.png", "{case}_spine.nii.gz"),
    run_results=(),
    preview="{case}_spine.png",
    check_result=check_result,
    metric=("summary", "centroid_error_mean_mm"),
    tensorboard=("train_loss", "pe_mm"),
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
    different_defaults={"amp": "bfloat16 gradients of these small crops are not reproducible on a CPU"},
    label_names={1: "spine", 2: "centroid"},
)
