"""The demo of this bundle: procedural radiographs in, landmarks out, compared with the truth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from .landmark_set import read_landmark_set
from .phantoms.phantom import write_hand_dataset
from .shared.io.point_files import read_landmark_table

HANDS = 4
SEED = 4200  # far from the seeds of training


def demo(output_dir: Path) -> dict[str, str | float]:
    """Run inference on procedural hands; the row of the table of demos."""
    data, results = output_dir / "input", output_dir / "results"
    write_hand_dataset(data, HANDS, seed=SEED)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    start = time.perf_counter()
    subprocess.run([*command, "--dataset_dir", str(data), "--output_dir", str(results)], check=True)
    seconds = time.perf_counter() - start
    landmark_set = read_landmark_set()
    errors_mm = []
    for row in read_landmark_table(data / "landmarks.csv"):
        truth = np.asarray(row.points)
        marks = json.loads((results / f"{row.image}_landmarks.json").read_text())["landmarks"]
        found = np.array([[mark["x"], mark["y"]] for mark in marks])
        errors_mm.append(np.linalg.norm(found - truth, axis=1) * landmark_set.mm_per_unit(truth))
    return {
        "bundle": "hand_landmarks",
        "input": f"{HANDS} procedural hand radiographs",
        "result": f"{len(landmark_set) * HANDS} landmarks",
        "reference": "exact positions",
        "metric": f"mean point error {np.mean(errors_mm):.2f} mm",
        "seconds": seconds,
    }
