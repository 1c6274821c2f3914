"""What the demos of the three spine bundles share: inference on the example CT, and its true vertebrae."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from ..io.example_ct import example_ct, example_vertebrae, whole_vertebrae
from .centres import case_centres


def run_inference(config: str, output_dir: Path) -> float:
    """Run a config of the bundle in the current folder on the example CT; seconds that it took."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config]
    start = time.perf_counter()
    subprocess.run([*command, "--dataset_dir", str(example_ct()), "--output_dir", str(output_dir)], check=True)
    return time.perf_counter() - start


def true_centres() -> dict[int, np.ndarray]:
    """Body centres (3,) [RAS mm] of the vertebrae that lie in the example CT as a whole."""
    labels, affine = example_vertebrae()
    volume = MetaTensor(torch.from_numpy(labels)[None], affine=torch.as_tensor(affine))
    centres, _ = case_centres(None, volume, volume)
    return {label: centres[label] for label in whole_vertebrae()}
