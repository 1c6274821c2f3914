"""Checks of the fixed forms of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_landmarks(content: Mapping[str, Any], names: int, dims: int) -> None:
    """`<case>_landmarks.json` with `names` landmarks in `dims` dimensions."""
    assert {"case", "frame", "landmarks", "warnings"} <= set(content)
    axes = ("x", "y", "z")[:dims]
    if dims == 2:
        assert all(size > 0 for size in content["mm_per_pixel"])
    assert len(content["landmarks"]) == names
    assert len({p["name"] for p in content["landmarks"]}) == names
    for point in content["landmarks"]:
        assert isinstance(point["index"], int)
        assert all(isinstance(point[axis], float) for axis in axes)
        assert 0 <= point["confidence"] <= 1
    assert all(isinstance(w, str) for w in content["warnings"])
