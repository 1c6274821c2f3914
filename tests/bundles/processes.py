"""Runs the commands of a bundle as a user runs them: in processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
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

# imports once what every command imports for seconds, then gives each command of the list a process of its own
FORKS = """
import json, os, runpy, sys
import monai.bundle
commands, folder = json.load(sys.stdin), sys.argv[1]
for number, arguments in enumerate(commands):
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with open(f"{folder}/{number}.code", "w") as file:
            file.write(str(status))
        continue
    with open(f"{folder}/{number}.out", "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["monai.bundle", *arguments]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    break
"""


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


def run_forked(commands: Sequence[Sequence[str]], cwd: Path) -> list[subprocess.CompletedProcess[str]]:
    """Runs commands of `bundle_command` one after the other, without the seconds that each spends on its imports."""
    arguments = [list(command[command.index("monai.bundle") + 1 :]) for command in commands]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", FORKS, folder], cwd=cwd, env=clean_environment(), input=json.dumps(arguments),
            text=True, encoding="utf-8", timeout=TIMEOUT_S, check=True,
        )  # fmt: skip
        results = [Path(folder, str(number)) for number in range(len(commands))]
        return [
            subprocess.CompletedProcess(
                command, int(result.with_suffix(".code").read_text()), result.with_suffix(".out").read_text("utf-8")
            )
            for command, result in zip(commands, results, strict=True)
        ]


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
