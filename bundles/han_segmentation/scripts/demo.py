"""The demo of this bundle: a procedural head and neck, CT and T1, segmented and compared with its exact labels."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .phantoms import make_head_neck
from .phantoms.dataset import write_nifti_case
from .phantoms.names import NAMES
from .shared.io.itk_images import read_image

SEED = 9100  # far from the seeds of training


def demo(output_dir: Path) -> dict[str, str | float]:
    """Segment one phantom; the row of the table of demos."""
    case = output_dir / "input" / "head"
    write_nifti_case(make_head_neck(SEED), case)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--dataset_dir", str(case), "--output_dir", str(output_dir), "--organs", "all"], check=True
    )
    seconds = time.perf_counter() - start
    found = sitk.GetArrayFromImage(read_image(output_dir / "head_segmentation.nii.gz", allow_constant=True))
    truth = sitk.GetArrayFromImage(read_image(case / "labels.nii.gz"))
    dice = [2 * ((found == n) & (truth == n)).sum() / ((found == n).sum() + (truth == n).sum()) for n in NAMES]
    report = json.loads((output_dir / "head_segmentation.json").read_text())
    (output_dir / "figures.json").write_text(json.dumps(dict(zip(NAMES.values(), map(float, dice), strict=True))))
    return {
        "bundle": "han_segmentation",
        "input": "phantom of head and neck, CT and T1",
        "result": f"{len(report['volumes_ml'])} organs, MR {'used' if report['mr']['used'] else 'left out'}",
        "reference": "exact label map",
        "metric": f"mean Dice {np.mean(dice):.3f}",
        "seconds": seconds,
    }
