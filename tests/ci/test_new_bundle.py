"""`python -m ci.new_bundle` begins a bundle that passes the contract as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.new_bundle import new_bundle

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ["tests/bundles/test_layout.py", "tests/bundles/test_network.py"]
RUNS = "tests/bundles/test_runs.py::test_unzipped_package[foot_landmarks]"  # train, resume, infer, evaluate


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's files, in which a bundle can be begun."""
    root = tmp_path_factory.mktemp("project") / "copy"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        source, target = ROOT / name, root / name
        if not (source.is_symlink() or source.is_file()):
            continue  # removed, and not yet committed
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def test_a_new_bundle_passes_the_contract(project: Path) -> None:
    command = [sys.executable, "-m", "ci.new_bundle", "foot_landmarks", "--like", "hand_landmarks"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "BUNDLES_DATA"))}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "foot_landmarks", *CONTRACT, RUNS]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout and "failed" not in done.stdout
    card = (project / "bundles" / "foot_landmarks" / "docs" / "README.md").read_text()
    assert "0.87" not in card, "figures of the other bundle"


@pytest.mark.parametrize(
    ("name", "like", "says"),
    [
        ("hand_landmarks", "han_segmentation", "is there already"),
        ("Foot", "hand_landmarks", "lower case"),
        ("foot", "hand", "there are han_segmentation, hand_landmarks"),
    ],
)
def test_what_cannot_be_begun(name: str, like: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        new_bundle(name, like)
