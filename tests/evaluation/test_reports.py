"""Files of figures."""

from __future__ import annotations

import csv
import json

import numpy as np
import torch
from monai.data import DataLoader

from shared.engines.case_evaluator import CaseDataset, CaseEvaluator, case_collate
from shared.evaluation.reports import CaseReport, write_metrics


def test_metrics_are_written_for_people_and_programs(tmp_path):
    cases = [{"case": "b", "pe": np.float64(2), "errors": np.array([1, np.inf])}]
    cases.append({"case": "a", "dice": torch.tensor(1.5)})
    write_metrics(tmp_path / "out", cases, {"pe": float("nan"), "n": np.int64(2)}, settings={"path": tmp_path})
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert document == {
        "summary": {"pe": None, "n": 2},
        "settings": {"path": str(tmp_path)},
        "cases": [{"case": "a", "dice": 1.5}, {"case": "b", "pe": 2.0, "errors": [1.0, None]}],
    }
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"case": "a", "dice": "1.5", "pe": ""}, {"case": "b", "dice": "", "pe": "2.0"}]


def test_an_evaluator_reports_its_cases_and_leaves_out_failed_ones(capsys):
    values = {"c": 3.0, "a": 0.0, "b": 1.0}
    data = [{"image": torch.full((1, 2), value), "case": name} for name, value in values.items()]
    reports: list = []
    report = CaseReport(lambda item: {"case": item["case"], "value": 6 / int(item["pred"].max())}, reports.append)
    evaluator = CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(CaseDataset(data), batch_size=1, collate_fn=case_collate),
        network=torch.nn.Identity(),
        postprocessing=lambda item: item,
        val_handlers=[report],
    )
    for _ in range(2):
        evaluator.run()
    assert reports == [[{"case": "b", "value": 6}, {"case": "c", "value": 2}]] * 2
    assert [failure.case for failure in evaluator.failures] == ["a"]
