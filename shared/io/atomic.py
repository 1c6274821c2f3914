"""Files that are whole or absent, alone and together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_together: ContextVar[dict[Path, Path] | None] = ContextVar("_together", default=None)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Temporary name beside the target (same suffixes), renamed to it at the end and removed after an exception.

    The folder is made where it is missing. Inside :func:`all_or_nothing` the renaming waits for the end of that.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".part-{os.getpid()}-{target.name}")
    waiting = _together.get()
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        if waiting is not None:
            waiting.pop(target, None)
        raise
    if waiting is None:
        os.replace(temporary, target)
    else:
        waiting.pop(target, None)
        waiting[target] = temporary


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Files that :func:`atomic_path` writes inside appear together at the end, in the order of their writing.

    After an exception none of them appears, and folders that were made for them alone are left empty.
    """
    waiting: dict[Path, Path] = {}
    token = _together.set(waiting)
    try:
        yield
        for target, temporary in waiting.items():
            os.replace(temporary, target)
    finally:
        _together.reset(token)
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)
