"""metrics.json and metrics.csv: what was measured on each case and over all."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..engines.case_evaluator import CaseEvaluator, CaseFailure, batch_name
from ..engines.items import iteration_items
from ..engines.parallel import gather, rank
from ..io.atomic import atomic_path
from ..io.json_files import write_json


def plain(value: Any) -> Any:
    """The value as JSON can hold it: tensors and arrays as lists, NaN and infinite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # tensors, arrays and their scalars
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def write_metrics(
    output_dir: str | os.PathLike, cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], **more: Any
) -> None:
    """Write metrics.json (everything) and metrics.csv (one row per case, the plain figures alone).

    Args:
        output_dir: folder, made where missing.
        cases: one mapping of figures per case, with "case"; figures that a case lacks stay empty.
        summary: figures over all cases.
        more: further entries of the JSON, such as figures per landmark or the settings.
    """
    rows = plain(sorted(cases, key=lambda row: str(row.get("case"))))
    document = {"summary": plain(summary), **plain(more), "cases": rows}
    write_json(Path(output_dir) / "metrics.json", document)
    columns = list(dict.fromkeys(name for row in rows for name, v in row.items() if not isinstance(v, (list, dict))))
    with atomic_path(Path(output_dir) / "metrics.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


class CaseReport:
    """Handler of an evaluator that measures each case and, at the end, hands all of them to a report.

    The rows of all processes are gathered; the first one makes the report. Cases that failed have no row; one that
    cannot be measured counts as failed.

    Args:
        measure: figures of one item, its input and output in one dictionary, with "case".
        report: called once with the rows in the order of their names, to write files.
    """

    def __init__(
        self,
        measure: Callable[[dict[str, Any]], Mapping[str, Any]],
        report: Callable[[list[Mapping[str, Any]]], None],
    ) -> None:
        self.measure, self.report = measure, report
        self.rows: list[Mapping[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.complete)

    def start(self, engine: Engine) -> None:
        self.rows = []

    def collect(self, engine: Engine) -> None:
        try:
            self.rows += [self.measure(item) for item in iteration_items(engine)]
        except Exception as error:
            if not isinstance(engine, CaseEvaluator):
                raise
            engine.fail(CaseFailure.of(*batch_name(engine.state.batch[0]), error))

    def complete(self, engine: Engine) -> None:
        rows = sorted(gather(self.rows), key=lambda row: str(row.get("case")))
        if rank() == 0:
            self.report(rows)
