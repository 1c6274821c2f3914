"""What a user sees of mistakes: one line on the terminal and exit code 1, through `python -m monai.bundle run`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.engines.terminal import check_overlay
from shared.io.errors import CaseError

ROOT = Path(__file__).parents[2]
START = {"_target_": "scripts.shared.engines.terminal.start"}
INFERENCE = {
    "dataset_dir": "",
    "num_workers": 0,
    "cases": {"_target_": "scripts.shared.io.cases.find_cases", "dataset_dir": "@dataset_dir"},
    "dataset": {
        "_target_": "monai.data.Dataset",
        "data": "@cases",
        "transform": {"_target_": "LoadImaged", "keys": "image", "reader": "scripts.shared.xray.reader.XrayReader"},
    },
    "handlers": ["$print('inference')"],
    "evaluator": {"_target_": "DataLoader", "dataset": "@dataset", "num_workers": "@num_workers"},
    "run": [START, "$list(@evaluator)"],
}
TRAINING = {"handlers": [], "run": [START, "$print('a training starts')"]}
EVALUATION = {"+handlers": ["$print('a report')"], "+run": [START]}
RIGHT = "--config_file \"['configs/inference.json','configs/evaluate.json']\""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with three small configs."""
    root = tmp_path / "bundle"
    (root / "configs").mkdir(parents=True)
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").touch()
    (root / "scripts" / "shared").symlink_to(ROOT / "shared")
    for name, config in {"inference": INFERENCE, "train": TRAINING, "evaluate": EVALUATION}.items():
        (root / "configs" / f"{name}.json").write_text(json.dumps(config))
    return root


def run(bundle: Path, files: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, "--workflow_type", "infer"]
    return subprocess.run([*command, *map(str, options)], cwd=bundle, capture_output=True, text=True, encoding="utf-8")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_file_is_shown_as_one_line(bundle: Path, tmp_path: Path, num_workers: int) -> None:
    data = tmp_path / "data"
    if num_workers:
        data.mkdir()
        (data / "a.png").write_bytes(b"text")
    done = run(bundle, "configs/inference.json", "--dataset_dir", data, "--num_workers", num_workers)
    assert done.returncode == 1
    start = f"{data / 'a.png'}: is no image" if num_workers else f"{data}: no such file or folder"
    assert any(line.startswith(start) for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 10, done.stderr


@pytest.mark.parametrize("files", ["['configs/train.json','configs/evaluate.json']", "configs/evaluate.json"])
def test_an_evaluation_that_is_not_on_top_of_inference_names_the_right_form(bundle: Path, files: str) -> None:
    done = run(bundle, files)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"configs/evaluate.json: is no workflow of its own; evaluation goes on top of inference: {RIGHT}"
    ), done.stderr
    assert "Traceback" not in done.stderr and "a training starts" not in done.stdout


def test_an_evaluation_on_top_of_inference_is_let_through() -> None:
    check_overlay(["run", "--config_file", "['configs/inference.json','configs/evaluate.json']"])
    check_overlay(["run", "--config_file", "configs/train.json"])
    with pytest.raises(CaseError, match="goes on top of inference"):
        check_overlay(["run", "--config_file=['configs/train.json','configs/evaluate.json']"])
