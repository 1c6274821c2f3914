"""The demo of this bundle: the whole pipeline on the example CT, compared with its label map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image

from .shared.io.example_ct import example_vertebrae, whole_vertebrae
from .shared.spine.demo_run import run_inference


def demo(output_dir: Path) -> dict[str, str | float]:
    """Find, name and segment the vertebrae of a chest CT; the row of the table of demos."""
    seconds = run_inference("configs/pipeline.json", output_dir)
    found = np.asarray(Nifti1Image.from_filename(next(output_dir.glob("*_segmentation.nii.gz"))).dataobj)
    truth, _ = example_vertebrae()
    dice = [
        2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum()) for k in whole_vertebrae()
    ]
    return {
        "bundle": "vertebrae_segmentation",
        "input": "chest CT",
        "result": f"{len(np.unique(found)) - 1} vertebrae",
        "reference": "label map of the CT",
        "metric": f"mean Dice {np.mean(dice):.3f}",
        "seconds": seconds,
    }
