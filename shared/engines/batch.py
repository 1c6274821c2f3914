"""Batches that go on where they were interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .settings import flag


def unfinished_cases(cases: Sequence[dict[str, str]], result: str, skip_done: bool) -> list[dict[str, str]]:
    """The cases whose last result is not there yet; all of them unless ``skip_done``.

    Results are written under a temporary name and renamed, the last one after all others: where it exists, the case is
    complete.

    Args:
        cases: as ``find_cases`` gives them.
        result: path of the last result of a case, with ``{case}``.
        skip_done: whether to leave finished cases out.
    """
    if not flag("skip_done", skip_done):
        return list(cases)
    return [case for case in cases if not Path(result.format(case=case["case"])).exists()]
