"""Finding cases, surviving bad ones, reporting them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.metrics import Average
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, EnsureTyped, Lambdad

from shared.engines.case_evaluator import CaseDataset, CaseEvaluator, CaseFailure, case_collate, finish
from shared.io.atomic import all_or_nothing, atomic_path
from shared.io.cases import find_cases
from shared.io.errors import CaseError, describe, find_case_line
from shared.io.json_files import write_json

ROOT = Path(__file__).parents[2]


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


DICOM = b"\0" * 128 + b"DICM"


def test_xrays_of_a_folder_are_found_by_suffix_or_content(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.nii.gz", "d.dcm", "landmarks.csv", "notes.txt", ".hidden.png", "out/preview.png"):
        touch(tmp_path / name)
    touch(tmp_path / "IM0001", DICOM)
    found = find_cases(tmp_path, "xray")
    assert [case["case"] for case in found] == ["IM0001", "a", "b", "c", "d"]
    assert found[1]["image"] == str(tmp_path / "a.jpg")


def test_sub_folders_are_searched_where_a_folder_holds_no_image(tmp_path):
    for name in ("train/a.png", "validation/a.png", "validation/b.png", "landmarks.csv"):
        touch(tmp_path / name)
    assert [case["case"] for case in find_cases(tmp_path)] == ["train_a", "validation_a", "b"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["p1/ct.mha", "p2/ct.mha"], ["p1_ct", "p2_ct"]),
        (["p1.a.nii.gz", "p1.b.NII.GZ"], ["p1.a", "p1.b"]),
        (["a b.nii", "Müller.mha", "胸部.NRRD"], ["a b", "Müller", "胸部"]),
        (["a.nii.gz", "a.mha", "A.nrrd"], ["A_nrrd", "a_mha", "a_nii_gz"]),
    ],
)
def test_names_keep_dots_blanks_and_letters(tmp_path, files, names):
    for name in files:
        touch(tmp_path / name)
    assert sorted(case["case"] for case in find_cases(tmp_path, "volume")) == sorted(names)


def test_case_names_are_unique(tmp_path):
    for name in ("a.png", "a.jpg", "a_png.png", "b.nii.gz"):
        touch(tmp_path / name)
    names = [case["case"] for case in find_cases(tmp_path)]
    assert len(set(names)) == 4 and "b" in names


def test_one_file_is_one_case(tmp_path):
    path = touch(tmp_path / "x.y.nii.gz")
    assert find_cases(str(path), "volume") == [{"image": str(path), "case": "x.y"}]


@pytest.mark.parametrize("content", [[], ["readme.txt"]])
def test_an_empty_folder_is_refused(tmp_path, content):
    for name in content:
        touch(tmp_path / name)
    with pytest.raises(CaseError, match="holds no radiograph; give --dataset_dir"):
        find_cases(tmp_path)


def test_a_missing_folder_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(CaseError, match="no such file or folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(CaseError, match="holds no volume"):
        find_cases(touch(tmp_path / "a.png"), "volume")


def test_the_line_is_found_behind_wrapped_errors():
    error = CaseError("a.png", "is\n bad", "use another")
    try:
        try:
            raise RuntimeError("applying transform") from error
        except RuntimeError as middle:
            raise RuntimeError("Failed to evaluate") from middle
    except RuntimeError as outer:
        assert find_case_line(outer) == "a.png: is bad; use another"
    text = "Caught CaseError in worker\nTraceback\nshared.io.errors.CaseError: a.png: is bad; use another\n"
    worker = RuntimeError(text)
    assert find_case_line(worker) == "a.png: is bad; use another"
    assert find_case_line(ValueError("CaseErrors are nice")) is None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_unknown_error_becomes_one_line():
    try:
        raise RuntimeError("applying transform x") from ValueError("first\nsecond")
    except RuntimeError as error:
        assert describe("a.png", error).startswith("a.png: unexpected ValueError: first second; ")


def load(path: str) -> MetaTensor:
    value = json.loads(Path(path).read_text())
    if value == "refuse":
        raise CaseError(path, "is refused", "use another")
    return MetaTensor(torch.full((1, 4, 4), float(value)), meta={"filename_or_obj": path})


def fail_at_three(data: torch.Tensor) -> torch.Tensor:
    if data.max() == 3:  # 10 times 0.3
        raise KeyError("three")
    return data


class FailAtTwo(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.max() == 2:
            raise ValueError("two")
        return image * 10


def make_evaluator(folder: Path, num_workers: int = 0, after=None, **kwargs) -> CaseEvaluator:
    data = [{"image": str(path), "case": path.stem} for path in sorted(folder.glob("*.json"))]
    dataset = CaseDataset(data, Compose([Lambdad("image", load), EnsureTyped("image")]))
    loader = DataLoader(dataset, batch_size=1, num_workers=num_workers, collate_fn=case_collate)
    metric = {"mean": Average(output_transform=lambda output: output[0]["pred"].mean().item())}
    return CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader,
        network=FailAtTwo(),
        postprocessing=Compose([Lambdad("pred", fail_at_three), *([after] if after else [])]),
        key_val_metric=metric,
        **kwargs,
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_failing_cases_cost_one_line_each_and_the_others_are_kept(tmp_path, capsys, num_workers):
    values = {"a": 1, "b": 2, "c": "refuse", "d": 0.3, "e": 4, "f": "a string"}
    for name, value in values.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    evaluator = make_evaluator(tmp_path, num_workers)
    evaluator.run()
    assert [failure.case for failure in evaluator.failures] == ["b", "c", "d", "f"]
    assert evaluator.state.metrics["mean"] == pytest.approx((10 + 40) / 2)
    with pytest.raises(SystemExit) as stop:
        finish(evaluator)
    assert stop.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 5, lines
    assert lines[0] == f"{tmp_path / 'b.json'}: unexpected ValueError: two; the log at level DEBUG shows where"
    assert lines[1] == f"{tmp_path / 'c.json'}: is refused; use another"
    assert lines[2].startswith(f"{tmp_path / 'd.json'}: unexpected KeyError: 'three'")  # in postprocessing
    assert lines[4] == "4 of 6 cases failed: b, c, d, f"


def test_a_case_that_the_metric_cannot_take_fails_alone(tmp_path, capsys):
    for name, value in {"a": 1, "b": 4}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))

    def refuse_ten(output):
        if output[0]["pred"].max() == 10:
            raise CaseError("a", "has no landmarks", "add them")
        return output[0]["pred"].mean().item()

    evaluator = make_evaluator(tmp_path, additional_metrics={"other": Average(output_transform=refuse_ten)})
    evaluator.run()
    assert [failure.line for failure in evaluator.failures] == ["a: has no landmarks; add them"]
    assert evaluator.state.metrics["other"] == 40


def test_a_run_without_failures_returns(tmp_path, capsys):
    (tmp_path / "a.json").write_text("1")
    evaluator = make_evaluator(tmp_path)
    evaluator.run()
    finish(evaluator)
    assert capsys.readouterr().err == ""


def test_batches_of_several_cases_are_refused():
    with pytest.raises(ValueError, match="batch_size 1"):
        case_collate([CaseFailure("a", "b", "c")] * 2)


def test_atomic_path_leaves_a_whole_file_or_none(tmp_path):
    target = tmp_path / "new" / "a.nii.gz"
    with atomic_path(target) as path:
        assert path.name.endswith(".nii.gz") and path.parent == target.parent
        path.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_files_written_together_appear_together(tmp_path):
    first, second = tmp_path / "a" / "a.json", tmp_path / "b.json"
    with all_or_nothing():
        write_json(first, 1)
        write_json(second, 2)
        write_json(first, 3)
        assert not first.exists() and not second.exists()
    assert (first.read_text(), second.read_text()) == ("3\n", "2\n")
    with pytest.raises(ValueError), all_or_nothing():
        write_json(first, 4)
        write_json(second, float("nan"))
    assert first.read_text() == "3\n" and sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.json"]
    assert list(first.parent.iterdir()) == [first]


@pytest.mark.parametrize("last", ["raises", "cannot be written"])
def test_a_case_that_fails_half_way_leaves_nothing(tmp_path, last):
    """A result in two files of which the second fails, by an error or by a value that JSON does not have."""
    for name, value in {"a": 1, "b": 4}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    output = tmp_path / "out"

    def write(data):
        case = data["case"]
        write_json(output / f"{case}_first.json", 1)
        if case == "a" and last == "raises":
            raise RuntimeError("no contours")
        write_json(output / f"{case}_second.json", float("inf") if case == "a" else 2)
        return data

    evaluator = make_evaluator(tmp_path, after=write)
    evaluator.run()
    assert [failure.case for failure in evaluator.failures] == ["a"]
    assert sorted(path.name for path in output.iterdir()) == ["b_first.json", "b_second.json"]


CONFIG = {
    "imports": ["$from shared.io.cases import find_cases"],
    "dataset_dir": "",
    "num_workers": 0,
    "cases": "$find_cases(@dataset_dir)",
    "dataset": {
        "_target_": "monai.data.Dataset",
        "data": "@cases",
        "transform": {"_target_": "LoadImaged", "keys": "image", "reader": "shared.xray.reader.XrayReader"},
    },
    "loader": {"_target_": "DataLoader", "dataset": "@dataset", "num_workers": "@num_workers"},
    "run": [{"_target_": "shared.engines.terminal.start"}, "$list(@loader)"],
}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_command_line_shows_one_line(tmp_path, num_workers):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    if num_workers:
        touch(tmp_path / "data" / "a.png", b"text")
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, "--dataset_dir", tmp_path / "data",
         "--num_workers", str(num_workers), "--workflow_type", "infer"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1
    problem = "is no image" if num_workers else "no such file or folder"
    path = tmp_path / "data" / "a.png" if num_workers else tmp_path / "data"
    assert any(line.startswith(f"{path}: {problem}") for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 10, done.stderr
