"""Runs the demo of every bundle in a process of its own and prints one table.

A bundle offers `scripts/demo.py` with `demo(output_dir: Path) -> dict`: the row `{"bundle", "input", "result",
"reference", "metric", "seconds"}` of the table; it writes its pictures to `output_dir`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("bundle", "input", "result", "reference", "metric", "seconds")
RUN_ONE = """
import json, sys
from pathlib import Path
from scripts.demo import demo
row = demo(Path(sys.argv[1]))
Path(sys.argv[1], "demo.json").write_text(json.dumps(row, indent=2))
"""


def run_demo(bundle: Path, output_dir: Path) -> dict[str, str]:
    """The row of one bundle; what failed says so in the column "result"."""
    output_dir.mkdir(parents=True, exist_ok=True)
    row_file = output_dir / "demo.json"
    row_file.unlink(missing_ok=True)
    start = time.perf_counter()
    with open(output_dir / "demo.log", "w") as log:
        code = subprocess.run(
            [sys.executable, "-c", RUN_ONE, str(output_dir)], cwd=bundle, stdout=log, stderr=subprocess.STDOUT
        ).returncode
    if code or not row_file.is_file():
        seconds = f"{time.perf_counter() - start:.1f}"
        return {"bundle": bundle.name, "result": f"FAILED, see {output_dir / 'demo.log'}", "seconds": seconds}
    row = json.loads(row_file.read_text())
    return {k: f"{row[k]:.1f}" if isinstance(row[k], float) else str(row[k]) for k in COLUMNS}


def format_table(rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS) -> str:
    """Columns as wide as their longest entry, two spaces apart."""
    cells = [list(columns), *([row.get(c, "") for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    cells.insert(1, ["-" * w for w in widths])
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", help="names; all when none is given")
    parser.add_argument("--output", type=Path, default=ROOT / "demo_output")
    args = parser.parse_args()
    scripts = (p.parent.parent for p in sorted(ROOT.glob("bundles/*/scripts/demo.py")))
    found = {p.name: p for p in scripts if (p / "configs").is_dir()}
    if unknown := set(args.bundles) - set(found):
        parser.error(f"no such bundle: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    rows = []
    for name in args.bundles or found:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows.append(run_demo(found[name], args.output.resolve() / name))
    print(format_table(rows))
    print(f"pictures: {args.output}")
    return int(any(row["result"].startswith("FAILED") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
