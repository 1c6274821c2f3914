"""CONTRIBUTING.md leads to files that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = [line for line in TEXT.split("| to change | open |")[1].split("\n\n")[0].splitlines() if "`" in line]
PATH = re.compile(r"`([\w/.-]+\.(?:py|json))`")


def test_twenty_changes_need_at_most_two_files_each() -> None:
    assert len(ROWS) >= 20
    counts = {row: len(PATH.findall(row)) for row in ROWS}
    assert {row: count for row, count in counts.items() if not 1 <= count <= 2} == {}


def test_the_files_are_there() -> None:
    found = {name for row in ROWS for name in PATH.findall(row)}
    in_bundles = {name for name in found if name.startswith(("configs/", "scripts/"))}  # "the bundle's …"
    missing = [name for name in sorted(found - in_bundles) if not (ROOT / name).is_file()]
    bundles = [path for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir()]
    missing += [f"{bundle.name}/{name}" for name in in_bundles for bundle in bundles if not (bundle / name).is_file()]
    assert missing == []


def test_the_folders_of_shared_are_named() -> None:
    folders = [path.name for path in (ROOT / "shared").iterdir() if (path / "__init__.py").is_file()]
    tree = TEXT.split("```")[1]
    assert [name for name in sorted(folders) if f"{name}/" not in tree] == []


def test_commands_are_there() -> None:
    modules = re.findall(r"python -m (ci\.\w+)", TEXT)
    scripts = re.findall(r"\./(ci/\w+\.sh)", TEXT)
    assert modules and scripts
    assert [m for m in modules if not (ROOT / f"{m.replace('.', '/')}.py").is_file()] == []
    assert [s for s in scripts if not (ROOT / s).is_file()] == []
