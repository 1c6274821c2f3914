"""Type check of all code but the tests: once for what stands alone, then once for each bundle, whose package is named
`scripts` like that of every other bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    mypy = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg")]
    mypy += ["--cache-dir", str(ROOT / ".mypy_cache")]
    runs = [(ROOT, ["shared", "ci"])]
    runs += [(p.parent, ["scripts"]) for p in sorted(ROOT.glob("bundles/*/scripts"))]
    return max(subprocess.run([*mypy, *targets], cwd=folder).returncode for folder, targets in runs)


if __name__ == "__main__":
    sys.exit(main())
