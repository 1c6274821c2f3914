"""Runs the commands of a bundle as a user runs them: in processes of their own."""

from __future__ import annotations

import functools
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
    "evaluate": ("inference.json", "evaluate.json"),
    "multi_gpu_train": ("train.json", "multi_gpu_train.json"),
    "multi_gpu_inference": ("inference.json", "multi_gpu_inference.json"),
    "multi_gpu_evaluate": ("inference.json", "evaluate.json", "multi_gpu_inference.json"),
}

# One import of MONAI, which takes longer than most commands, for many of them: each is a fork of this process that goes
# on as `python -m` would, up to the end of the interpreter.
SERVER = """
import json, os, runpy, signal, sys
import monai.bundle
for line in sys.stdin:
    argv, cwd, log, seconds = json.loads(line)
    child = os.fork()
    if child == 0:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        signal.alarm(seconds)
        os.chdir(cwd)
        sys.argv, sys.path[0] = argv, cwd
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def clean_environment(threads: int = 1) -> dict[str, str]:
    """This environment without what could hide a mistake (search paths) or make results differ (GPUs, threads)."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BUNDLES_DATA")}
    return {**env, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg"}


def option_arguments(options: Mapping[str, Any]) -> list[str]:
    """`{"epochs": 2}` as `["--epochs", "2"]`."""
    return [part for key, value in options.items() for part in (f"--{key}", str(value))]


def config_files(bundle: Path, workflow: str) -> tuple[str, ...]:
    """Names of the configs of a workflow; some evaluations still go on top of train.json."""
    text = (bundle / "configs" / "evaluate.json").read_text()
    return tuple(
        "train.json" if "evaluate" in workflow and name == "inference.json" and "validate#" in text else name
        for name in CONFIGS[workflow]
    )


def bundle_command(
    bundle: Path, workflow: str, options: Mapping[str, Any], elsewhere: bool = False, processes: int = 1
) -> list[str]:
    """The command line of a workflow, for the bundle folder or, with absolute paths, for any folder."""
    folder = bundle / "configs" if elsewhere else Path("configs")
    files = [str(folder / name) for name in config_files(bundle, workflow)]
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


@functools.cache
def server() -> subprocess.Popen[str]:
    """The process that :func:`run_quickly` uses; it ends with this one, whose end of the pipe then closes."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER], env=clean_environment(), text=True, encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def run_quickly(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """:func:`run` of a command `python -m module ...` without its imports, where a fresh interpreter shows no more."""
    assert list(command[:2]) == [sys.executable, "-m"]
    pipes = server()
    assert pipes.stdin is not None and pipes.stdout is not None
    with tempfile.NamedTemporaryFile() as log:
        pipes.stdin.write(json.dumps([list(command[2:]), str(cwd), log.name, TIMEOUT_S]) + "\n")
        pipes.stdin.flush()
        code = int(pipes.stdout.readline())
        text = Path(log.name).read_text(encoding="utf-8", errors="replace")
    return subprocess.CompletedProcess(command, code, text)


def run_bundle(
    bundle: Path,
    workflow: str,
    options: Mapping[str, Any],
    cwd: Path | None = None,
    processes: int = 1,
    fresh: bool = False,
) -> str:
    """Runs a workflow that must succeed, in the bundle folder or in `cwd`; returns what it printed.

    Several processes, and one that is to be fresh, are started as a user does; others by :func:`run_quickly`.
    """
    command = bundle_command(bundle, workflow, options, elsewhere=cwd is not None, processes=processes)
    done = (run if fresh or processes > 1 else run_quickly)(command, cwd or bundle)
    assert done.returncode == 0, f"exit code {done.returncode}\n{' '.join(command)}\n{done.stdout[-6000:]}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
