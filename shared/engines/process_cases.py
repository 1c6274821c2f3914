"""Preprocessing of a data set, case by case: one that fails costs one line, the others are kept."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from tqdm import tqdm

from .case_evaluator import CaseDataset, CaseFailure

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def process_cases(
    dataset: CaseDataset,
    title: str,
    work: Callable[[Any], Result],
    at_end: Callable[[list[Result]], Any] | None = None,
) -> list[Result]:
    """Do something with every case of a data set.

    Args:
        dataset: its items are cases that transforms have prepared, or failures.
        title: of the progress bar.
        work: takes a prepared case; an exception of it costs that case alone.
        at_end: takes the results of all cases that did not fail, also where others did.

    Returns:
        the results.

    Raises:
        SystemExit: with code 1 at the end if a case failed.
    """
    results, failures = [], []
    for index in tqdm(range(len(dataset)), desc=title, disable=len(dataset) == 0):
        done = dataset[index]
        if not isinstance(done, CaseFailure):
            try:
                results.append(work(done))
                continue
            except Exception as error:
                source = dataset.data[index]
                case = str(source.get("case", index))
                done = CaseFailure.of(case, str(source.get("image", case)), error)
        failures.append(done.case)
        tqdm.write(done.line, file=sys.stderr)
        logger.debug(done.details)
    if at_end is not None:
        at_end(results)
    logger.info("%s: %d of %d cases done", title, len(results), len(dataset))
    if failures:
        print(f"{len(failures)} of {len(dataset)} cases failed: {', '.join(sorted(failures))}", file=sys.stderr)
        raise SystemExit(1)
    return results
