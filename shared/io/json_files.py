"""Result files in JSON: one form, and never a half-written one."""

from __future__ import annotations

import json
import os
from typing import Any

from .atomic import atomic_path


def write_json(path: str | os.PathLike, document: Any) -> None:
    """Write a document of plain values as JSON (UTF-8), whole or not at all; the folder is made where it is missing.

    Raises:
        ValueError: for NaN and infinite numbers, which JSON does not have.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
