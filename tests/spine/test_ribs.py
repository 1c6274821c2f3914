from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared.phantoms.torso.phantom import TorsoPhantom, make_torso
from shared.spine.labels import VERTEBRA_LABELS
from shared.spine.ribs import RibReach, measure_ribs, rib_doubts
from tests.spine.oracles import phantom_centres

L = VERTEBRA_LABELS
RIB, BARE, UNKNOWN = (RibReach(0.0, 0.0, side, side) for side in (True, False, None))


@pytest.fixture(scope="module")
def torso() -> TorsoPhantom:
    """A torso at 2 mm, T8 to L4."""
    return make_torso(21, (2, 2, 2), ("T8", "L4"), False, "RAS", "full")


@pytest.fixture(scope="module")
def volume(torso: TorsoPhantom) -> MetaTensor:
    return MetaTensor(torch.as_tensor(torso.image)[None].float(), affine=torch.as_tensor(torso.affine))


def test_ribs_of_a_phantom(torso: TorsoPhantom, volume: MetaTensor) -> None:
    ribs = measure_ribs(volume, phantom_centres(torso))
    assert [ribs[L[name]].rib for name in ("T10", "T11", "T12")] == [True] * 3
    assert [ribs[L[name]].rib for name in ("L1", "L2")] == [False] * 2
    assert all(ribs[L[name]].left_mm < 55 and ribs[L[name]].right_mm < 55 for name in ("L1", "L2"))
    assert rib_doubts(ribs) == []


@pytest.mark.parametrize(("shift", "says"), [(-1, "the last rib is on T11"), (1, "L1 carries ribs")])
def test_names_shifted_by_one_are_doubted(torso: TorsoPhantom, volume: MetaTensor, shift: int, says: str) -> None:
    points = {label + shift: point for label, point in phantom_centres(torso).items() if label + shift in range(8, 25)}
    assert says in rib_doubts(measure_ribs(volume, points))


def test_what_is_not_seen_raises_no_doubt() -> None:
    assert rib_doubts({L["T11"]: RIB, L["T12"]: RIB, L["L1"]: BARE}) == []
    assert rib_doubts({L["T11"]: RIB, L["T12"]: UNKNOWN, L["L1"]: UNKNOWN}) == []
    assert rib_doubts({L["T11"]: BARE, L["T12"]: BARE}) == []
    assert rib_doubts({L["T12"]: RIB, L["T13"]: RIB, L["L1"]: BARE}) == []
    assert len(rib_doubts({L["T11"]: RIB, L["L1"]: BARE})) == 1
    assert measure_ribs(MetaTensor(torch.zeros(1, 4, 4, 4)), {L["L1"]: np.zeros(3)}) == {}
