"""A batch of cases in which one bad file costs its own result and nothing else.

A user's mistake raises :class:`~shared.io.errors.CaseError`. During inference it costs that one case; anywhere else it
ends the command (:mod:`shared.engines.terminal`).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.data import Dataset, MetaTensor, list_data_collate
from monai.engines import SupervisedEvaluator
from tqdm import tqdm

from ..io.atomic import all_or_nothing
from ..io.errors import describe
from .parallel import gather, is_distributed, rank, wait_for_all, world_size

logger = logging.getLogger(__name__)


def shard_cases(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """This process's share of the cases: every ``world_size``-th one, none twice; may be empty."""
    return list(cases[rank() :: world_size()])


@dataclass(frozen=True)
class CaseFailure:
    """A case that could not be processed.

    Attributes:
        case: name of the case.
        line: what happened, in one line.
        details: the traceback.
    """

    case: str
    line: str
    details: str

    @classmethod
    def of(cls, case: str, path: str, error: BaseException) -> CaseFailure:
        """Failure of a case by an exception."""
        return cls(case, describe(path, error), "".join(traceback.format_exception(error)))


class CaseDataset(Dataset):
    """Data set whose items are transformed cases, or a :class:`CaseFailure` in place of those that cannot be read.

    Args:
        data: cases as :func:`find_cases` gives them: dictionaries with "case" and one or more paths.
        transform: applied to each.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable | Sequence[Callable] | None = None) -> None:
        super().__init__(data, transform)

    def _transform(self, index: int) -> Any:
        item = self.data[index]
        try:
            return super()._transform(index)
        except Exception as error:
            paths = [str(value) for key, value in item.items() if key != "case" and isinstance(value, (str, Path))]
            case = str(item.get("case", paths[0] if paths else index))
            return CaseFailure.of(case, paths[0] if paths else case, error)


def case_collate(batch: list[Any]) -> Any:
    """Collate for a loader of cases: a batch is one case, because cases differ in size and fail one by one."""
    if len(batch) != 1:
        raise ValueError(f"cases are processed one by one: the loader needs batch_size 1, got {len(batch)}")
    return batch[0] if isinstance(batch[0], CaseFailure) else list_data_collate(batch)


def batch_name(batch: Any) -> tuple[str, str]:
    """Name and path of the case in a collated batch."""
    names = batch.get("case") if isinstance(batch, dict) else None
    case = str(names[0] if isinstance(names, (list, tuple)) else names or "case")
    images = [value for value in batch.values() if isinstance(value, MetaTensor)] if isinstance(batch, dict) else []
    paths = [image.meta["filename_or_obj"] for image in images if "filename_or_obj" in image.meta]
    if not paths:
        return case, case
    return case, str(paths[0] if isinstance(paths[0], str) else paths[0][0])


class CaseEvaluator(SupervisedEvaluator):
    """Evaluator of a loader of cases (:class:`CaseDataset`, :func:`case_collate`) that survives cases that fail.

    A case fails by a CaseError or any other exception while it is read, in the network, in postprocessing or in a
    metric. It costs one line on stderr; the run goes on. The files that postprocessing writes about a case appear
    together or, where it fails, not at all. ``failures`` lists the failed ones, :func:`finish` ends the command
    accordingly. Handlers of ITERATION_COMPLETED see an empty ``state.output`` list for a failed case; metrics do not
    see it at all. A process whose share is empty takes part in the gathering of metrics as well.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.failures: list[CaseFailure] = []
        super().__init__(*args, **kwargs)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        self.failures = []
        if self.state.epoch_length == 0:
            # The base class would skip the run, and the other processes would wait for this one's part of the metrics.
            self.state.epoch, self.state.iteration = global_epoch, 0
            for event in (Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
                self.fire_event(event)
            return
        super().run(global_epoch)

    def fail(self, failure: CaseFailure) -> list:
        """Note a failed case and say so; returns the output of its iteration."""
        self.failures.append(failure)
        tqdm.write(failure.line, file=sys.stderr)
        logger.debug(failure.details)
        self.state.batch, self.state.output = [], []
        return []

    def _iteration(self, engine: SupervisedEvaluator, batchdata: Any) -> Any:
        if isinstance(batchdata, CaseFailure):
            return self.fail(batchdata)
        try:
            with all_or_nothing():
                return super()._iteration(engine, batchdata)
        except Exception as error:
            return self.fail(CaseFailure.of(*batch_name(batchdata), error))

    def _register_metrics(self, k_metric: dict, add_metrics: dict | None = None) -> None:
        for metric in (k_metric | (add_metrics or {})).values():
            self._guard(metric)
        super()._register_metrics(k_metric, add_metrics)

    def _guard(self, metric: Metric) -> None:
        """Keep failed cases away from a metric, and count a case that the metric cannot take as failed."""
        update = metric.iteration_completed

        def guarded(engine: CaseEvaluator) -> None:
            if not engine.state.output:
                return
            try:
                update(engine)
            except Exception as error:
                item = engine.state.batch[0] if isinstance(engine.state.batch, list) else engine.state.batch
                self.fail(CaseFailure.of(*batch_name(item), error))

        metric.iteration_completed = guarded  # type: ignore[method-assign, assignment]


def finish(evaluator: CaseEvaluator) -> None:
    """Last entry of "run": say how many cases failed and exit with code 1 if any did, in every process alike.

    Raises:
        SystemExit: if a case failed in this or another process.
    """
    failures = gather(evaluator.failures)
    count = sum(gather([evaluator.state.iteration]))
    if rank() == 0:
        logger.info("%d of %d cases done", count - len(failures), count)
        if failures:
            names = ", ".join(sorted(failure.case for failure in failures))
            print(f"{len(failures)} of {count} cases failed: {names}", file=sys.stderr, flush=True)
    if failures:
        wait_for_all()  # torchrun stops the others as soon as one process has failed
        if is_distributed():
            torch.distributed.destroy_process_group()
        raise SystemExit(1)
