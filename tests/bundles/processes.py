"""Runs the commands of a bundle as a user runs them: in processes of their own."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
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
# on as `python -m` (or `-c`) would, up to the end of the interpreter. A request with several environments makes the
# ranks of one job; as with torchrun, the others end when one has failed. The answer is a line with the numbers of the
# processes, and, when all have ended, one with the exit code.
SERVER = """
import json, os, runpy, signal, sys
import monai.bundle
import monai.engines
import monai.handlers
import torch.distributed


def run(argv, cwd, log, seconds, environment):
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.alarm(seconds)
    os.chdir(cwd)
    os.environ.update(environment)
    sys.path[0] = cwd
    if argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)


for line in sys.stdin:
    argv, cwd, log, seconds, environments = json.loads(line)
    children = []
    for environment in environments:
        child = os.fork()
        if child == 0:
            run(argv, cwd, log, seconds, environment)
            sys.exit()
        children.append(child)
    print(json.dumps(children), flush=True)
    code = 0
    while children:
        child, status = os.wait()
        children.remove(child)
        if status and not code:
            code = os.waitstatus_to_exitcode(status)
            for other in children:
                os.kill(other, signal.SIGTERM)
    print(code, flush=True)
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


@functools.cache
def server() -> subprocess.Popen[str]:
    """The process behind :class:`Forked`; it ends with this one, whose end of the pipe then closes."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER], env=clean_environment(), text=True, encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


class Forked:
    """A command `python -m module ...` or `python -c code ...` without its imports, where a fresh interpreter shows no
    more. It runs as soon as the object is made.

    Args:
        command: with the interpreter in front.
        cwd: folder in which it runs.
        processes: with more than one, ranks of a job as torchrun would start them.
    """

    def __init__(self, command: Sequence[str], cwd: Path, processes: int = 1) -> None:
        assert command[0] == sys.executable and command[1] in ("-m", "-c")
        self.command = command
        self.log = tempfile.NamedTemporaryFile()  # noqa: SIM115  wait() closes it
        common = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        ranks: list[dict[str, str]] = [{**common, "RANK": str(i), "LOCAL_RANK": str(i)} for i in range(processes)]
        self.pipes = server()
        assert self.pipes.stdin is not None
        request = [list(command[1:]), str(cwd), self.log.name, TIMEOUT_S, ranks if processes > 1 else [{}]]
        self.pipes.stdin.write(json.dumps(request) + "\n")
        self.pipes.stdin.flush()
        self.groups: list[int] = json.loads(self.answer())

    def answer(self) -> str:
        assert self.pipes.stdout is not None
        return self.pipes.stdout.readline()

    def running(self) -> bool:
        """Whether the first process has not ended; one that has is a zombie until the server has seen it."""
        try:
            return Path(f"/proc/{self.groups[0]}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """SIGKILL to the processes and all that they have started."""
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Exit code and output, once it has ended."""
        code = int(self.answer())
        with self.log:
            text = Path(self.log.name).read_text(encoding="utf-8", errors="replace")
        return subprocess.CompletedProcess(self.command, code, text)


def run_quickly(command: Sequence[str], cwd: Path, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """:func:`run` by :class:`Forked`."""
    return Forked(command, cwd, processes).wait()


def run_bundle(
    bundle: Path,
    workflow: str,
    options: Mapping[str, Any],
    cwd: Path | None = None,
    processes: int = 1,
    fresh: bool = False,
) -> str:
    """Runs a workflow that must succeed, in the bundle folder or in `cwd`; returns what it printed.

    One that is to be fresh is started as a user does, with torchrun where it has several processes; others by
    :func:`run_quickly`.
    """
    launched = processes if fresh else 1
    command = bundle_command(bundle, workflow, options, elsewhere=cwd is not None, processes=launched)
    done = run(command, cwd or bundle) if fresh else run_quickly(command, cwd or bundle, processes)
    assert done.returncode == 0, f"exit code {done.returncode}\n{' '.join(command)}\n{done.stdout[-6000:]}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
