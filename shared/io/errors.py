"""What a user did wrong, in one line: which file, what is wrong, what to do."""

from __future__ import annotations

import os
import re

import torch

LONGEST_MESSAGE = 300  # characters of a foreign error message that are shown in one line


class CaseError(Exception):
    """A file or setting that cannot be processed.

    Args:
        path: the file, folder or setting.
        problem: what is wrong with it.
        advice: what the user can do.
    """

    def __init__(self, path: str | os.PathLike, problem: str, advice: str) -> None:
        super().__init__(str(path), problem, advice)
        self.path, self.problem, self.advice = str(path), problem, advice

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.problem}; {self.advice}")


def one_line(text: str) -> str:
    """The text without line breaks and repeated blanks."""
    return " ".join(text.split())


def find_case_line(error: BaseException) -> str | None:
    """The line of the CaseError that an exception comes from, or None.

    Follows the explicit causes, in which MONAI wraps errors of transforms and config expressions. A worker process of a
    data loader hands only the text of its traceback over, so the line is looked for there as well.
    """
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, CaseError):
            return str(step)
        if found := re.findall(r"^(?:[\w.]+\.)?CaseError: (.+)$", str(step), flags=re.MULTILINE):
            return found[-1]
        step = step.__cause__
    return None


def describe(path: str, error: BaseException) -> str:
    """One line for any exception: that of the CaseError behind it, or type and message of the first cause."""
    if line := find_case_line(error):
        return line
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, torch.OutOfMemoryError):
        return str(CaseError(path, "does not fit into the memory of the GPU", "use a GPU with more memory or the CPU"))
    message = one_line(str(error))[:LONGEST_MESSAGE]
    problem = f"unexpected {type(error).__name__}: {message}"
    return str(CaseError(path, problem, "the log at level DEBUG shows where"))
