"""Runs the benchmarks and collects their ratios: `python -m ci.bench [name ...] [--output bench.json]`.

Each `tests/benchmarks/bench_*.py` has `NAMES`, the rows it measures, and `run() -> list[dict]`, made with
`tests.benchmarks.measure.row`; it runs in a process of its own. Rows of other names in an existing output file stay.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ci.demo import format_table

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("name", "ours", "peer", "ratio", "unit", "threads")
RUN_ONE = """
import importlib, json, sys
from pathlib import Path
rows = importlib.import_module("tests.benchmarks." + sys.argv[1]).run()
Path(sys.argv[2]).write_text(json.dumps(rows))
"""


def names_of(module: Path) -> list[str]:
    """The `NAMES` of a benchmark, read without importing it."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "NAMES" for t in node.targets):
            return list(ast.literal_eval(node.value))
    raise SystemExit(f"{module} has no NAMES")


def wanted(name: str, prefixes: Sequence[str]) -> bool:
    return not prefixes or any(name == p or name.startswith(p.rstrip("/") + "/") for p in prefixes)


def machine() -> str:
    """Processor and number of cores of this machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores"


def run_benchmark(module: Path) -> list[dict]:
    """Rows of one benchmark; raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "rows.json")
        subprocess.run([sys.executable, "-c", RUN_ONE, module.stem, str(result)], cwd=ROOT, check=True)
        return json.loads(result.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help='benchmarks ("hand/landmarker") or their beginnings ("hand")')
    parser.add_argument("--output", type=Path, default=ROOT / "bench.json")
    args = parser.parse_args()
    modules = {m: names_of(m) for m in sorted(ROOT.glob("tests/benchmarks/bench_*.py"))}
    chosen = [m for m, names in modules.items() if any(wanted(n, args.names) for n in names)]
    if not chosen:
        parser.error(f"nothing to run; there are: {', '.join(n for names in modules.values() for n in names)}")
    common = {"machine": machine(), "date": datetime.date.today().isoformat()}
    rows, failed = [], []
    for module in chosen:
        print(f"{module.stem} ...", file=sys.stderr, flush=True)
        try:
            rows += [{**r, **common} for r in run_benchmark(module) if wanted(r["name"], args.names)]
        except subprocess.CalledProcessError:
            failed.append(module.stem)
    before = json.loads(args.output.read_text()) if args.output.is_file() else []
    new = {r["name"] for r in rows}
    merged = sorted([*(r for r in before if r["name"] not in new), *rows], key=lambda r: r["name"])
    args.output.write_text(json.dumps(merged, indent=2) + "\n")
    cells = [{c: f"{r[c]:.4g}" if isinstance(r[c], float) else str(r[c]) for c in COLUMNS} for r in rows]
    print(format_table(cells, COLUMNS))
    for name in failed:
        print(f"{name} FAILED", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
