"""Runs the commands of a bundle as a user runs them: in processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
CONFIGS = {
    "train": ("train.json",),
    "inference": ("inference.json",),
    "evaluate": ("train.json", "evaluate.json"),
    "multi_gpu_train": ("train.json", "multi_gpu_train.json"),
    "multi_gpu_inference": ("inference.json", "multi_gpu_inference.json"),
    "multi_gpu_evaluate": ("train.json", "evaluate.json", "multi_gpu_inference.json"),
}


def clean_environment(threads: int = 1) -> dict[str, str]:
    """This environment without what could hide a mistake (search paths) or make results differ (GPUs, threads)."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BUNDLES_DATA")}
    return {**env, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg"}


def option_arguments(options: Mapping[str, Any]) -> list[str]:
    """`{"epochs": 2}` as `["--epochs", "2"]`."""
    return [part for key, value in options.items() for part in (f"--{key}", str(value))]


def bundle_command(
    bundle: Path, workflow: str, options: Mapping[str, Any], elsewhere: bool = False, processes: int = 1
) -> list[str]:
    """The command line of a workflow, for the bundle folder or, with absolute paths, for any folder."""
    folder = bundle / "configs" if elsewhere else Path("configs")
    files = [str(folder / name) for name in CONFIGS[workflow]]
    root = {"bundle_root": str(bundle)} if elsewhere else {}
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}", "-m"]
    config_file = files[0] if len(files) == 1 else str(files)
    return [*launcher, "monai.bundle", "run", "--config_file", config_file, *option_arguments({**root, **options})]


def run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(), text=True, encoding="utf-8", timeout=TIMEOUT_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run_bundle(
    bundle: Path, workflow: str, options: Mapping[str, Any], cwd: Path | None = None, processes: int = 1
) -> str:
    """Runs a workflow that must succeed, in the bundle folder or in `cwd`; returns what it printed."""
    command = bundle_command(bundle, workflow, options, elsewhere=cwd is not None, processes=processes)
    done = run(command, cwd or bundle)
    assert done.returncode == 0, f"exit code {done.returncode}\n{' '.join(command)}\n{done.stdout[-6000:]}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
