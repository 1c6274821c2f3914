"""What the contract tests have to know about a bundle; each bundle has one `specs/<name>.py` with `SPEC`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Data:
    """Generated data of a bundle.

    Attributes:
        train: options (config id → value) that point training and its validation to the data.
        inference: options that point inference to the data.
        evaluate: options that point evaluation to the data and its reference.
        cases: names of the cases of inference.
    """

    train: Mapping[str, Any]
    inference: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    cases: tuple[str, ...]


@dataclass(frozen=True)
class BadInput:
    """An input file that inference refuses: `make(path)` writes it, `says` is a pattern of the line about it."""

    file: str
    make: Callable[[Path], object]
    says: str


@dataclass(frozen=True)
class BadCall:
    """A call that stops at once: `options(folder)` are its options, `says` a pattern of its one line."""

    name: str
    workflow: str  # "inference", "evaluate" or "train"
    options: Callable[[Path], Mapping[str, Any]]
    says: str


@dataclass(frozen=True)
class BundleSpec:
    """Everything about one bundle that differs between bundles.

    Attributes:
        make_data: `make_data(bundle_dir, folder)` generates data so small that an epoch takes about a second.
        train: options that make the network and the training small.
        early_stop: options with which training stops before its last epoch, because nothing gets better.
        inference: options that go with `train`, so that inference fits its weights.
        results: names of the result files of a case, with `{case}`.
        run_results: names of the result files of a whole inference run.
        preview: name of the preview picture of a case, with `{case}`.
        check_result: checks the JSON of one case, given its content.
        metric: keys that lead to the main figure in `metrics.json`.
        tensorboard: names of scalars that training logs.
        bad_inputs: files that inference refuses while it keeps the rest.
        bad_calls: calls that end with one line.
        verify: arguments of `verify_net_in_out` (`n`, `p`, `any`) for a small input.
        label_names: of the values of the label map that inference writes, 0 left out, which viewers show.
        different_defaults: options whose defaults in train, inference and evaluate differ, with the reason.
        network_input: makes an input (B, C, ...) that the network may get out of noise in [0, 1].
    """

    make_data: Callable[[Path, Path], Data]
    train: Mapping[str, Any]
    early_stop: Mapping[str, Any]
    inference: Mapping[str, Any]
    results: tuple[str, ...]
    run_results: tuple[str, ...]
    preview: str
    check_result: Callable[[Mapping[str, Any]], None]
    metric: tuple[str, ...]
    tensorboard: tuple[str, ...]
    bad_inputs: tuple[BadInput, ...]
    bad_calls: tuple[BadCall, ...]
    verify: Mapping[str, int] = field(default_factory=dict)
    label_names: Mapping[int, str] = field(default_factory=dict)
    different_defaults: Mapping[str, str] = field(default_factory=dict)
    network_input: Callable[[torch.Tensor], torch.Tensor] = lambda noise: noise
