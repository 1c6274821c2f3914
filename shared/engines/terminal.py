"""How a command of a bundle speaks to its user: one line for a mistake, instead of the tracebacks around it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import fire

from ..io.errors import find_case_line

logger = logging.getLogger(__name__)


def start() -> None:
    """First entry of every ``run``: from here on a CaseError, however deeply wrapped, ends the program with its
    one line and exit code 1.

    ``python -m monai.bundle run`` would print several screens of tracebacks. Other errors are shown as before. It
    cannot stand in ``initialize``: MONAI puts the folder of the bundle on the search path after that.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = find_case_line(error)
        if line is None:
            previous(kind, error, trace)
            return
        logger.debug("", exc_info=(kind, error, trace))
        print(line, file=sys.stderr)

    sys.excepthook = hook


def run_command(function: Callable[..., Any]) -> None:
    """Run a function as a command: its arguments become options (``python -m scripts.name --option value``)."""
    start()
    fire.Fire(function)
