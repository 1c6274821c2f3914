"""requirements.txt names every package that the code imports, so that nothing works only by what others pull in."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = {"shared", "bundles", "scripts", "tests", "ci"}
PRODUCT = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("bundles/*/scripts/*.py"), ROOT / "ci" / "demo.py"]
# Benchmarks also hold scripts for the environments of what they compare with.
CHECKS = [p for p in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("ci/*.py")] if "benchmarks" not in p.parts]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(*files: str) -> set[str]:
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {normalized(m[1]) for line in lines if (m := re.match(r"([\w.-]+)==", line))}


def imported(files: list[Path]) -> dict[str, str]:
    """Top-level packages that are neither ours nor Python's, each with one place that imports it."""
    found: dict[str, str] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            found.update({name.split(".")[0]: f"{file.relative_to(ROOT)}:{node.lineno}" for name in names})
    return {k: v for k, v in found.items() if k not in OWN and k not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("files", "requirements"),
    [(PRODUCT, ["requirements.txt"]), (CHECKS, ["requirements.txt", "ci/requirements.txt"])],
    ids=["product", "checks"],
)
def test_every_import_is_required(files: list[Path], requirements: list[str]) -> None:
    known, distributions = required(*requirements), packages_distributions()
    missing = {
        f"{name} ({place})"
        for name, place in imported(files).items()
        if not known & {normalized(d) for d in distributions.get(name, [])}
    }
    assert missing == set()


def test_every_requirement_is_pinned() -> None:
    for file in ("requirements.txt", "ci/requirements.txt"):
        lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
        assert [line for line in lines if line and not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
