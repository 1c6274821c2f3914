"""HU as network input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

HU_WINDOW = (-1024.0, 1024.0)  # air to dense bone; metal looks like dense bone


def normalize_hu(hu: Tensor, window: Sequence[float] = HU_WINDOW) -> Tensor:
    """The lowest and the highest HU of the window become -1 and 1; values beyond are clamped."""
    low, high = (float(value) for value in window)
    return (hu.clamp(low, high) - (low + high) / 2) / ((high - low) / 2)
