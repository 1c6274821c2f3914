"""The demo of this bundle: the spine of the example CT found, compared with the vertebrae of its label map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .shared.spine.demo_run import run_inference, true_centres


def demo(output_dir: Path) -> dict[str, str | float]:
    """Find the spine of a chest CT; the row of the table of demos."""
    seconds = run_inference("configs/inference.json", output_dir)
    content = json.loads(next(output_dir.glob("*_spine_centroid.json")).read_text())
    low, high = (np.array([content["box"][end][axis] for axis in "xyz"]) for end in ("low", "high"))
    truth = np.stack(list(true_centres().values())) * (-1, -1, 1)  # LPS, as the file
    inside = ((truth >= low) & (truth <= high)).all(axis=1).sum()
    return {
        "bundle": "spine_localization",
        "input": "chest CT",
        "result": "box and centroid",
        "reference": "label map of the CT",
        "metric": f"{inside} of {len(truth)} vertebral bodies inside",
        "seconds": seconds,
    }
