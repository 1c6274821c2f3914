"""A data set processed case by case, some of which fail."""

from __future__ import annotations

import pytest

from shared.engines.case_evaluator import CaseDataset
from shared.engines.process_cases import process_cases
from shared.io.errors import CaseError


def prepare(item: dict) -> dict:
    if item["case"] == "b":
        raise CaseError(item["image"], "is bad", "use another")
    return item


def work(item: dict) -> str:
    if item["case"] == "c":
        raise ValueError("three")
    return item["case"].upper()


def cases(names: str) -> CaseDataset:
    return CaseDataset([{"case": name, "image": f"{name}.png"} for name in names], prepare)


def test_failing_cases_cost_a_line_each_and_the_others_are_kept(capsys):
    ends = []
    with pytest.raises(SystemExit) as stop:
        process_cases(cases("abcd"), "preprocess", work, ends.append)
    assert stop.value.code == 1 and ends == [["A", "D"]]
    lines = [line for line in capsys.readouterr().err.splitlines() if ": " in line and "%" not in line]
    assert lines[0] == "b.png: is bad; use another"
    assert lines[1].startswith("c.png: unexpected ValueError: three")
    assert lines[2] == "2 of 4 cases failed: b, c"


def test_results_of_whole_cases_come_back():
    assert process_cases(cases("ad"), "preprocess", work) == ["A", "D"]
