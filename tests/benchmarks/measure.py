"""What benchmarks share: the row of a result, timing, and environments for the software compared with."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def row(name: str, ours: float, peer: float, unit: str, threads: int, *, lower_is_better: bool) -> dict[str, Any]:
    """One result; `ratio` > 1 where ours is better."""
    ratio = peer / ours if lower_is_better else ours / peer
    return {"name": name, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "threads": threads}


def median_seconds(function: Callable[[], object], repeats: int = 5, warmup: int = 1) -> float:
    """Median wall time of `function()` in seconds."""
    for _ in range(warmup):
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_memory_mb() -> float:
    """Largest resident memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peer_python(name: str, requirements: Sequence[str]) -> Path:
    """Interpreter of an environment of its own with `requirements` (as for pip), made on first use."""
    folder = ROOT / ".venv-peers" / name
    python, stamp = folder / "bin" / "python", folder / "requirements.sha256"
    wanted = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-qq", *requirements], check=True)
        stamp.write_text(wanted)
    return python


def run_script(python: Path | str, script: Path, *args: object, threads: int) -> dict[str, Any]:
    """Runs a script that prints one JSON object as its last line, with `threads` threads, and returns that object."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [str(python), str(script), *map(str, args)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])
