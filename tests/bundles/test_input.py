"""What cannot be processed gets one clear line and a non-zero exit code, and costs nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.bundles.conftest import Bundle, Run
from tests.bundles.processes import bundle_command, run_quickly
from tests.bundles.spec import Data
from tests.bundles.test_runs import check_results


def lines_about(text: str, word: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", text) if word in line]


@pytest.fixture(scope="module")
def mixed(bundle: Bundle, data: Data, unbroken: Run, work: Path) -> tuple[Path, str, int]:
    """Good and bad files in one folder: where the results are, what was printed, exit code."""
    folder, output = work / "mixed", work / "mixed_results"
    source = Path(data.inference["dataset_dir"])
    shutil.copytree(source, folder)
    for bad in bundle.spec.bad_inputs:
        (folder / bad.file).parent.mkdir(parents=True, exist_ok=True)
        bad.make(folder / bad.file)
    options = {**bundle.spec.inference, **data.inference, "dataset_dir": folder, "output_dir": output}
    done = run_quickly(bundle_command(bundle.path, "inference", {**options, "ckpt_path": unbroken.best}), bundle.path)
    return output, done.stdout, done.returncode


def test_good_cases_of_a_mixed_folder_are_kept(bundle: Bundle, data: Data, mixed: tuple[Path, str, int]) -> None:
    output, log, code = mixed
    assert code == 1, log[-3000:]
    assert "Traceback" not in log
    check_results(bundle.spec, output, data.cases)


def test_each_bad_file_gets_its_line(bundle: Bundle, mixed: tuple[Path, str, int]) -> None:
    wrong = {}
    for bad in bundle.spec.bad_inputs:
        lines = lines_about(mixed[1], bad.file)
        if len(lines) != 1 or not re.search(bad.says, lines[0]):
            wrong[bad.file] = lines
    assert wrong == {}


def test_equal_names_in_two_folders_lose_nothing(bundle: Bundle, data: Data, unbroken: Run, work: Path) -> None:
    """Two patients whose files are named alike: every file of both is there, named by patient and file."""
    folder, output, patients = work / "patients", work / "patients_results", ("patient1", "patient2")
    options = {**bundle.spec.inference, **data.inference, "ckpt_path": unbroken.best, "output_dir": output}
    for patient in patients:
        shutil.copytree(options["dataset_dir"], folder / patient)
    if "landmarks" in options:  # a file per case
        given = work / "patients_landmarks"
        given.mkdir()
        for file in Path(options["landmarks"]).iterdir():
            for patient in patients:
                shutil.copy(file, given / f"{patient}_{file.name}")
        options["landmarks"] = given
    done = run_quickly(bundle_command(bundle.path, "inference", {**options, "dataset_dir": folder}), bundle.path)
    assert done.returncode == 0, done.stdout[-3000:]
    check_results(bundle.spec, output, tuple(f"{patient}_{case}" for patient in patients for case in data.cases))


def test_bad_calls(bundle: Bundle, data: Data, unbroken: Run, work: Path) -> None:
    common = {"ckpt_path": unbroken.best}
    wrong = {}
    for call in bundle.spec.bad_calls:
        folder = work / "calls" / call.name
        folder.mkdir(parents=True)
        known = {
            "train": {**bundle.spec.train, **data.train},
            "inference": {**bundle.spec.inference, **data.inference, **common},
            "evaluate": {**bundle.spec.inference, **data.evaluate, **common},
        }[call.workflow]
        options = {**known, "output_dir": folder / "out", **call.options(folder)}
        done = run_quickly(bundle_command(bundle.path, call.workflow, options), bundle.path)
        lines = lines_about(done.stdout, "")
        if done.returncode == 0 or "Traceback" in done.stdout or not any(re.search(call.says, x) for x in lines):
            wrong[call.name] = (done.returncode, done.stdout[-1500:])
    assert wrong == {}
