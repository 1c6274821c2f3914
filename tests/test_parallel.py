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

from shared.cases import CaseDataset, CaseEvaluator, case_collate, finish, shard_cases
from shared.items import iteration_items
from shared.parallel import gather, rank, world_size
from shared.plots import WorstCases
from shared.point_metrics import PointError
from shared.reports import CaseReport, write_metrics

ROOT = Path(__file__).parents[1]


def refuse_bad(item):
    if item["case"] == "bad":
        raise ValueError("bad")
    return item


def evaluate(folder: Path, names: list[str]) -> None:
    """An evaluation of cases whose error is their number, in this process's share."""
    data = [
        {"image": torch.full((1, 2), float(index)), "truth": torch.zeros(1, 2), "case": name}
        for index, name in enumerate(names)
    ]
    report = CaseReport(
        lambda item: {"case": item["case"], "error": float(item["pred"].max())},
        lambda rows: write_metrics(folder, rows, {"n": len(rows)}),
    )
    worst = WorstCases(folder / "worst", lambda axes, item: None, lambda item: float(item["pred"].max()), 2)
    evaluator = CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(CaseDataset(shard_cases(data), refuse_bad), batch_size=1, collate_fn=case_collate),
        network=torch.nn.Identity(),
        key_val_metric={"error": PointError(found="pred", truth="truth")},
        val_handlers=[report, worst],
    )
    shown = []
    worst.draw = lambda axes, item: shown.append(item["case"])
    evaluator.run()
    result = {
        "rank": rank(),
        "share": [item["case"] for item in shard_cases(data)],
        "metric": evaluator.state.metrics["error"],
        "worst": shown,
        "gathered": gather([f"{rank()}{i}" for i in range(rank())]),
        "items": iteration_items(evaluator) if isinstance(evaluator.state.output, list) else [],
    }
    del result["items"]
    (folder / f"rank{rank()}_of_{world_size()}.json").write_text(json.dumps(result))
    finish(evaluator)


def run_ranks(folder: Path, names: list[str], count: int = 2) -> tuple[list[dict], list[int], str]:
    """Run :func:`evaluate` in processes; results, exit codes and stderr."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.test_parallel", str(folder), *names],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"RANK": str(index), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost",
                              "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        )
        for index in range(count)
    ]  # fmt: skip
    errors = "".join(process.communicate(timeout=120)[1] for process in processes)
    results = [json.loads((folder / f"rank{index}_of_{count}.json").read_text()) for index in range(count)]
    return results, [process.returncode for process in processes], errors


def test_two_processes_find_what_one_finds(tmp_path):
    names = ["a", "b", "bad", "d", "e"]
    results, codes, errors = run_ranks(tmp_path, names)
    assert [result["share"] for result in results] == [["a", "bad", "e"], ["b", "d"]]
    expected = sum(2**0.5 * index for index in (0, 1, 3, 4)) / 4
    assert [result["metric"] for result in results] == [pytest.approx(expected)] * 2
    assert [result["gathered"] for result in results] == [["10"]] * 2
    assert [result["worst"] for result in results] == [["e", "d"], []]
    assert codes == [1, 1], errors
    assert errors.count("1 of 5 cases failed: bad") == 1, errors
    rows = json.loads((tmp_path / "metrics.json").read_text())["cases"]
    assert [(row["case"], row["error"]) for row in rows] == [("a", 0), ("b", 1), ("d", 3), ("e", 4)]


def test_a_process_without_cases_does_not_hold_up_the_other(tmp_path):
    results, codes, errors = run_ranks(tmp_path, ["a"])
    assert [result["share"] for result in results] == [["a"], []]
    assert [result["metric"] for result in results] == [0, 0]
    assert codes == [0, 0], errors


def test_a_process_whose_cases_all_fail_does_not_hold_up_the_other(tmp_path):
    results, codes, errors = run_ranks(tmp_path, ["bad", "b"])
    assert [result["metric"] for result in results] == [pytest.approx(2**0.5)] * 2
    assert codes == [1, 1], errors


if __name__ == "__main__":
    dist.init_process_group("gloo")
    evaluate(Path(sys.argv[1]), sys.argv[2:])
    dist.destroy_process_group()
