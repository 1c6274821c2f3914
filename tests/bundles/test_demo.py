"""The demo of a bundle runs on what the project brings and gives one full row of the table and pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ci.demo import COLUMNS
from tests.bundles.conftest import ROOT, Bundle
from tests.bundles.processes import run


def test_demo(bundle: Bundle, work: Path) -> None:
    output = work / "demo"
    done = run([sys.executable, "-m", "ci.demo", "--output", str(output), bundle.name], ROOT)
    log = output / bundle.name / "demo.log"
    assert done.returncode == 0, done.stdout + (log.read_text()[-6000:] if log.is_file() else "")
    row = json.loads((output / bundle.name / "demo.json").read_text())
    assert list(row) == list(COLUMNS) and all(str(value) for value in row.values())
    assert list((output / bundle.name).rglob("*.png"))
    assert all(str(row[c]) in done.stdout for c in ("bundle", "input", "metric"))
