from __future__ import annotations

import pytest

from shared.phantoms.torso.phantom import TorsoPhantom, make_torso


@pytest.fixture(scope="session")
def lower_back() -> TorsoPhantom:
    """A small phantom at 2 mm, T9 to L3 whole."""
    return make_torso(3, (2, 2, 2), ("T9", "L3"), False, "RAS", "spine")
