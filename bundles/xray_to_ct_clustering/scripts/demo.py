"""The demo of this bundle: X-rays rendered from the real example CT and from a phantom, turned into volumes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import torch

from .hounsfield import hu_to_intensity
from .metrics import psnr
from .render_pairs import render_pairs

PHANTOM = 9001  # no phantom of the training


def volume_psnr(result: Path, truth: Path) -> float:
    """PSNR in dB, at the range of the CT, of a volume and the truth on the same grid."""
    images = [np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj, np.float32) for path in (result, truth)]
    predicted, true = (hu_to_intensity(torch.from_numpy(image)) for image in images)
    return psnr(predicted, true)


def demo(output_dir: Path) -> dict[str, str | float]:
    """Render two pairs and predict their volumes; the row of the table of demos."""
    data, results = output_dir / "input", output_dir / "results"
    cases = render_pairs(str(data), phantoms=1, first_phantom=PHANTOM, example=True)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    start = time.perf_counter()
    subprocess.run([*command, "--dataset_dir", str(data / "xrays"), "--output_dir", str(results)], check=True)
    seconds = time.perf_counter() - start
    accepted, figures = 0, {}
    for case in cases:
        accepted += bool(json.loads((results / f"{case}_volume.json").read_text())["accepted"])
        figures[case] = volume_psnr(results / f"{case}_ct.nii.gz", data / "truth" / f"{case}_ct.nii.gz")
    (output_dir / "figures.json").write_text(json.dumps(figures))
    return {
        "bundle": "xray_to_ct_clustering",
        "input": "2 pairs of X-rays: chest CT, phantom",
        "result": f"{len(cases)} volumes, {accepted} accepted",
        "reference": "the CTs",
        "metric": f"PSNR {' / '.join(f'{value:.1f}' for value in figures.values())} dB",
        "seconds": seconds,
    }
