"""Contract data of the bundle vertebrae_localization."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bundles.result_forms import check_landmarks
from tests.bundles.spec import BundleSpec, Data
from tests.bundles.spine_cases import BAD_CALLS, BAD_INPUTS, FLOAT32, LABEL_NAMES, make_data

NETWORK = {"network_def#width": 4, "network_def#spatial_kernel_size": 3}
ANYTHING = {"min_score": -1e9, "peak": 1e-9, "min_peak": -1e9}  # heatmaps of two epochs reach about 1e-4


def data_of(bundle: Path, folder: Path) -> Data:
    data = make_data(folder)
    return dataclasses.replace(data, evaluate={**data.evaluate, **ANYTHING})


def check_result(content: Mapping[str, Any]) -> None:
    if "landmarks" in content:
        check_landmarks(content, len(content["landmarks"]), dims=3)
        assert isinstance(content["level_uncertain"], bool)
    else:
        assert {"case", "centroid", "box"} <= set(content)


SPEC = BundleSpec(
    make_data=data_of,
    train={**NETWORK, **FLOAT32, "crop_size": [32, 32, 48], "spacing_mm": 4.0, "num_workers": 0},
    early_stop={"learning_rate": 0, "patience": 1},
    inference={**NETWORK, **ANYTHING},
    results=(
        "{case}_landmarks.json",
        "{case}_spine_centroid.json",
        "{case}_vertebrae.png",
        "{case}_vertebrae.nii.gz",
    ),
    run_results=(),
    preview="{case}_vertebrae.png",
    check_result=check_result,
    metric=("summary", "strict", "id_rate_20mm"),
    tensorboard=("train_loss", "pe_mm"),
    bad_inputs=BAD_INPUTS,
    bad_calls=BAD_CALLS,
    label_names=LABEL_NAMES,
)
