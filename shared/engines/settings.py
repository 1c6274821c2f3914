"""Settings as they come from the command line."""

from __future__ import annotations

from typing import Any

from ..io.errors import CaseError


def flag(name: str, value: Any) -> bool:
    """A switch as True or False.

    The command line hands ``false`` over as a text, which Python takes for true.

    Args:
        name: of the setting.
        value: True, False, or these words in any case.

    Raises:
        CaseError: for anything else.
    """
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise CaseError(f"--{name}", f"is {value!r}", "write True or False")
