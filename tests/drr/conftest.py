"""Fixtures of the rendering tests."""

from __future__ import annotations

import pytest
from torch import Tensor

from shared.drr import Detector
from tests.drr.volumes import smooth_volume


@pytest.fixture(scope="session")
def phantom() -> tuple[Tensor, Tensor]:
    """Anisotropic, non-cubic volume and its affine."""
    return smooth_volume((56, 48, 40), (1.1, 1.3, 2.2))


@pytest.fixture(scope="session")
def detector() -> Detector:
    """Non-square detector with non-square pixels and an offset."""
    return Detector(36, 44, (4.1, 5.2), 1020.0, (6.0, -9.0))
