"""Two processes: shares, gathering, metrics, failures, an empty share."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from monai.data import DataLoader

from shared.engines.case_evaluator import CaseDataset, CaseEvaluator, case_collate, finish, shard_cases
from shared.engines.parallel import gather, rank
from shared.evaluation.point_metrics import PointError
from shared.evaluation.reports import CaseReport, write_metrics
from shared.pictures.plots import WorstCases

ROOT = Path(__file__).parents[2]


def refuse_bad(item):
    if item["case"] == "bad":
        raise ValueError("bad")
    return item


def evaluate(folder: Path, names: list[str]) -> CaseEvaluator:
    """An evaluation of cases whose error is their number, in this process's share."""
    data = [
        {"image": torch.full((1, 2), float(index)), "truth": torch.zeros(1, 2), "case": name}
        for index, name in enumerate(names)
    ]
    shown: list[str] = []
    report = CaseReport(
        lambda item: {"case": item["case"], "error": float(item["pred"].max())},
        lambda rows: write_metrics(folder, rows, {"n": len(rows)}),
    )
    worst = WorstCases(
        folder / "worst", lambda axes, item: shown.append(item["case"]), lambda item: float(item["pred"].max()), 2
    )
    evaluator = CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(CaseDataset(shard_cases(data), refuse_bad), batch_size=1, collate_fn=case_collate),
        network=torch.nn.Identity(),
        key_val_metric={"error": PointError(found="pred", truth="truth")},
        val_handlers=[report, worst],
    )
    evaluator.run()
    result = {
        "share": [item["case"] for item in shard_cases(data)],
        "metric": evaluator.state.metrics["error"],
        "worst": shown,
        "gathered": gather([f"{rank()}{index}" for index in range(rank())]),
    }
    folder.mkdir(exist_ok=True)
    (folder / f"rank{rank()}.json").write_text(json.dumps(result))
    return evaluator


SCENARIOS = {"empty": ["a"], "all_bad": ["bad", "b"], "mixed": ["a", "b", "bad", "d", "e"]}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Folder of the results, exit codes and stderr of two processes that ran all scenarios."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    settings = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engines.test_parallel", str(folder)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | settings | {"RANK": str(index)},
        )
        for index in range(2)
    ]
    errors = "".join(process.communicate(timeout=200)[1] for process in processes)
    return folder, [process.returncode for process in processes], errors


def results(folder: Path) -> list[dict]:
    return [json.loads((folder / f"rank{index}.json").read_text()) for index in range(2)]


def test_two_processes_find_what_one_finds(ranks):
    folder, codes, errors = ranks
    found = results(folder / "mixed")
    assert [result["share"] for result in found] == [["a", "bad", "e"], ["b", "d"]]
    expected = sum(2**0.5 * index for index in (0, 1, 3, 4)) / 4
    assert [result["metric"] for result in found] == [pytest.approx(expected)] * 2
    assert [result["gathered"] for result in found] == [["10"]] * 2
    assert [result["worst"] for result in found] == [["e", "d"], []]
    rows = json.loads((folder / "mixed" / "metrics.json").read_text())["cases"]
    assert [(row["case"], row["error"]) for row in rows] == [("a", 0), ("b", 1), ("d", 3), ("e", 4)]


def test_every_process_fails_and_one_says_why(ranks):
    _, codes, errors = ranks
    assert codes == [1, 1], errors
    assert errors.count("1 of 5 cases failed: bad") == 1, errors


def test_a_process_without_cases_does_not_hold_up_the_other(ranks):
    found = results(ranks[0] / "empty")
    assert [result["share"] for result in found] == [["a"], []]
    assert [result["metric"] for result in found] == [0, 0]


def test_a_process_whose_cases_all_fail_does_not_hold_up_the_other(ranks):
    assert [result["metric"] for result in results(ranks[0] / "all_bad")] == [pytest.approx(2**0.5)] * 2


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for scenario, cases in SCENARIOS.items():
        last = evaluate(Path(sys.argv[1]) / scenario, cases)
    finish(last)
