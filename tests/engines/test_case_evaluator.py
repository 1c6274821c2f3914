"""A batch in which bad cases cost their own results alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.metrics import Average
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, EnsureTyped, Lambdad

from shared.engines.case_evaluator import CaseDataset, CaseEvaluator, CaseFailure, case_collate, finish
from shared.io.errors import CaseError
from shared.io.json_files import write_json


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
