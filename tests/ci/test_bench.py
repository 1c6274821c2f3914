"""Choosing benchmarks by name and the direction of their ratios."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.bench import names_of, wanted
from tests.benchmarks.measure import row

BENCHMARKS = sorted((Path(__file__).parent.parent / "benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [([], True), (["hand"], True), (["hand/"], True), (["hand/landmarker"], True), (["han"], False), (["x/y"], False)],
)
def test_a_name_or_its_beginning_chooses(prefixes: list[str], expected: bool) -> None:
    assert wanted("hand/landmarker", prefixes) is expected


def test_ratio_is_above_one_where_ours_is_better() -> None:
    assert row("time", ours=2.0, peer=6.0, unit="s", threads=1, lower_is_better=True)["ratio"] == 3
    assert row("speed", ours=6.0, peer=2.0, unit="1/s", threads=1, lower_is_better=False)["ratio"] == 3


def test_every_benchmark_names_its_rows() -> None:
    assert all("/" in name for module in BENCHMARKS for name in names_of(module))
