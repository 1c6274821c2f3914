"""What the dictionary of a case holds on its way through the transforms of the three stages.

What is read stays under "original", without a copy; "image" becomes the input of the bundle's network. What is found on
the way, the spine's region and the labelled vertebrae, travels as JSON text, which data loaders can collate.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

ORIGINAL = "original"


def case_name(data: Mapping[Hashable, Any]) -> str:
    """Name of the case in a dictionary."""
    return str(data.get("case", "case"))
