"""How a command of a bundle speaks to its user: one line for a mistake, instead of the tracebacks around it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import fire

from ..io.errors import CaseError, find_case_line

logger = logging.getLogger(__name__)

EVALUATION, BASE = "evaluate.json", "inference.json"


def check_overlay(arguments: Sequence[str]) -> None:
    """Refuse an evaluation that is not put on top of inference, by the arguments of the command.

    Alone it has nothing to evaluate. On top of the training, as in bundles of the model zoo, a training would start.

    Raises:
        CaseError: that names the right form.
    """
    text = " ".join(arguments)
    if EVALUATION in text and BASE not in text:
        right = f"--config_file \"['configs/{BASE}','configs/{EVALUATION}']\""
        raise CaseError(
            f"configs/{EVALUATION}", "is no workflow of its own", f"evaluation goes on top of inference: {right}"
        )


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
    check_overlay(sys.argv)


def run_command(function: Callable[..., Any]) -> None:
    """Run a function as a command: its arguments become options (``python -m scripts.name --option value``)."""
    start()
    fire.Fire(function)
