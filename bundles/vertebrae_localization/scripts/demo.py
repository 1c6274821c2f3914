"""The demo of this bundle: the vertebrae of the example CT found and named, compared with its label map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .shared.spine.demo_run import run_inference, true_centres
from .shared.spine.labels import VERTEBRA_LABELS

HIT_MM = 20.0


def demo(output_dir: Path) -> dict[str, str | float]:
    """Find and name the vertebrae of a chest CT; the row of the table of demos."""
    seconds = run_inference("configs/inference.json", output_dir)
    marks = json.loads(next(output_dir.glob("*_landmarks.json")).read_text())["landmarks"]
    found = {VERTEBRA_LABELS[mark["name"]]: np.array([-mark["x"], -mark["y"], mark["z"]]) for mark in marks}
    truth = true_centres()
    errors = [np.linalg.norm(found[label] - centre) for label, centre in truth.items() if label in found]
    hits = sum(error < HIT_MM for error in errors)
    return {
        "bundle": "vertebrae_localization",
        "input": "chest CT",
        "result": f"{len(marks)} vertebrae",
        "reference": "label map of the CT",
        "metric": f"{hits} of {len(truth)} named right, mean error {np.mean(errors):.1f} mm",
        "seconds": seconds,
    }
