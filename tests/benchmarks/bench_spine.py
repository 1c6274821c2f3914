"""Time and memory of the vertebra pipeline against MONAI's SegResNet as `wholeBody_ct_segmentation` configures it.

Both go from the example chest CT to a label map on its grid, each as one process from start to end: ours is
`monai.bundle run` of `pipeline.json`, the peer is `peers/segresnet_ct.py`. Time is the wall time of the process, memory
the largest resident size that the system has noted for it; nothing samples it while it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from shared.io.example_ct import example_ct
from tests.benchmarks.measure import ROOT, row

NAMES = ["spine_pipeline/segresnet_time", "spine_pipeline/segresnet_memory"]
BUNDLE = ROOT / "bundles" / "vertebrae_segmentation"
PEER = Path(__file__).with_name("peers") / "segresnet_ct.py"
THREADS = 2


def run_measured(command: Sequence[str], cwd: Path) -> tuple[float, float]:
    """Seconds and largest resident memory [MB] of a command; CalledProcessError where it fails."""
    env = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS), "CUDA_VISIBLE_DEVICES": ""}
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=env)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # waited for already
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024


def run() -> list[dict]:
    ct = str(example_ct())
    with tempfile.TemporaryDirectory() as folder:
        pipeline = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/pipeline.json"]
        ours = run_measured([*pipeline, "--dataset_dir", ct, "--output_dir", f"{folder}/ours"], BUNDLE)
        peer = run_measured([sys.executable, str(PEER), ct, f"{folder}/peer.nii.gz"], ROOT)
    return [
        row(NAMES[0], ours[0], peer[0], "s", THREADS, lower_is_better=True),
        row(NAMES[1], ours[1], peer[1], "MB", THREADS, lower_is_better=True),
    ]
