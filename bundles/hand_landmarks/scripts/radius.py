"""How far off a point may be: the radius in mm that holds nine of ten points of its landmark and confidence.

The typical error of each landmark is scaled by a power of its confidence, the height of its heatmap. Fitted to an
evaluation, and valid for the weights that were evaluated alone:

    python -m scripts.radius --metrics eval/metrics.json --ckpt_path models/model.pt --radius models/model_radius.json
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .shared.engines.terminal import run_command
from .shared.io.errors import CaseError
from .shared.io.json_files import write_json
from .shared.io.weights import read_tensors

COVERAGE = 0.9
FOLDS = 7
SHRINK = 3.0
"""Weight of the mean over all landmarks in the typical error of each one, in images."""
ADVICE = "make it with: python -m scripts.radius"


def fit_radius(errors_mm: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    """Calibration of the radius.

    Args:
        errors_mm: (N, K).
        confidence: (N, K) in 0..1.
    """
    size = np.log(np.sqrt((errors_mm**2).mean(axis=0)).clip(min=1e-3))
    size = (len(errors_mm) * size + SHRINK * size.mean()) / (len(errors_mm) + SHRINK)
    trust, error = np.log(confidence.clip(min=1e-3)), np.log(errors_mm + 0.05)
    usual = trust.mean(axis=0)
    x, y = trust - usual, error - error.mean(axis=0)
    power = min(float((x * y).sum() / max((x * x).sum(), 1e-12)), 0.0)
    factor = float(np.quantile(errors_mm / np.exp(size + power * x), COVERAGE))
    return {"log_size": size.tolist(), "log_confidence": usual.tolist(), "power": power, "factor": factor}


def radius_mm(confidence: np.ndarray, calibration: Mapping[str, Any]) -> np.ndarray:
    """Radius (..., K) for confidences (..., K)."""
    trust = np.log(np.asarray(confidence).clip(min=1e-3))
    size, usual = np.asarray(calibration["log_size"]), np.asarray(calibration["log_confidence"])
    return calibration["factor"] * np.exp(size + calibration["power"] * (trust - usual))


def left_out_coverage(errors_mm: np.ndarray, confidence: np.ndarray) -> float:
    """Share of the points within their radius, each image by the calibration of the folds that it is not in."""
    order = np.random.default_rng(0).permutation(len(errors_mm))
    inside = []
    for fold in np.array_split(order, min(FOLDS, len(order))):
        others = np.setdiff1d(order, fold)
        calibration = fit_radius(errors_mm[others], confidence[others])
        inside.append(errors_mm[fold] <= radius_mm(confidence[fold], calibration))
    return float(np.concatenate(inside).mean())


def fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """Hash of a state dict that is the same for the weights in a file, in a network and in its TorchScript export."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_calibration(path: str | os.PathLike, network: torch.nn.Module, count: int) -> dict[str, Any] | None:
    """The calibration of a network; None where the file is missing or belongs to other weights.

    Args:
        path: the file.
        network: with its weights.
        count: K.

    Raises:
        CaseError: when it is no calibration of K landmarks.
    """
    if not Path(path).is_file():
        return None
    try:
        calibration = json.loads(Path(path).read_text(encoding="utf-8"))
        if calibration["weights"] != fingerprint(network.state_dict()):
            return None
        radius_mm(np.ones(count), calibration)
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(path, f"is no calibration of {count} landmarks", ADVICE) from error
    return calibration


def calibrate(metrics: str, ckpt_path: str, radius: str) -> None:
    """Fit the radius to an evaluation and say how many points of left-out images it holds.

    Args:
        metrics: metrics.json of an evaluation of images that the network was not trained on.
        ckpt_path: the weights that were evaluated.
        radius: the file to write.

    Raises:
        CaseError: when the evaluation is none, or of fewer than five images.
    """
    weights = read_tensors(ckpt_path)
    try:
        cases = json.loads(Path(metrics).read_text(encoding="utf-8"))["cases"]
        errors_mm, confidence = (np.array([case[key] for case in cases]) for key in ("errors_mm", "confidence"))
    except (OSError, ValueError, KeyError) as error:
        raise CaseError(metrics, "is no metrics.json of this bundle", "run the evaluation first") from error
    if len(cases) < 5:
        raise CaseError(metrics, f"has {len(cases)} images", "five images are the least, twenty are better")
    coverage = left_out_coverage(errors_mm, confidence)
    about = {"weights": fingerprint(weights), "images": len(cases), "left_out_coverage": round(coverage, 4)}
    write_json(radius, {**about, **fit_radius(errors_mm, confidence)})
    print(f"{radius}: {coverage:.1%} of the points of left-out images lie within their 90 % radius")


if __name__ == "__main__":
    run_command(calibrate)
