"""Body centres of training cases: the anchor in the sacrum."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared.spine.centres import SACRUM, case_centres, sacral_centre

SHAPE = (40, 50, 60)


def spine(with_sacrum: bool = True) -> MetaTensor:
    """L5 as a block of 2 mm voxels, under it a sacrum that leans backwards."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[12:28, 25:40, 42:54] = 24
    if with_sacrum:
        for depth in range(40):
            labels[8:32, max(0, 24 - depth // 3) : 38 - depth // 3, 39 - depth] = SACRUM
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-40.0, 30.0, -300.0]
    return MetaTensor(torch.from_numpy(labels)[None], affine=torch.as_tensor(affine))


L5 = np.array([-40.0, 30.0, -300.0]) + 2.0 * np.array([19.5, 32.0, 47.5])


def test_anchor_lies_in_the_top_of_the_sacrum() -> None:
    labels = spine()
    found = sacral_centre(labels, {24: L5})
    assert found is not None
    index = np.linalg.inv(np.asarray(labels.affine)) @ [*found, 1.0]
    assert int(labels[(0, *np.round(index[:3]).astype(int))]) == SACRUM
    assert 15 < np.linalg.norm(found - L5) < 45 and abs(found[0] - L5[0]) < 2
    assert index[2] > 20  # in the upper half


def test_anchor_moves_with_the_patient() -> None:
    labels = spine()
    shift = np.array([13.0, -7.0, 100.0])
    affine = np.asarray(labels.affine).copy()
    affine[:3, 3] += shift
    moved = MetaTensor(labels.as_tensor(), affine=torch.as_tensor(affine))
    first, second = sacral_centre(labels, {24: L5}), sacral_centre(moved, {24: L5 + shift})
    assert first is not None and second is not None and np.allclose(second, first + shift)


@pytest.mark.parametrize("centres", [{}, {20: L5}], ids=["none", "L1 alone"])
def test_no_anchor_without_the_vertebra_above(centres: dict) -> None:
    assert sacral_centre(spine(), centres) is None


def test_what_may_be_in_view_without_a_label_is_unknown() -> None:
    volume = MetaTensor(torch.zeros(1, *SHAPE), affine=spine().affine)
    centres, unknown = case_centres(None, spine(), volume)
    assert set(centres) == {24, SACRUM} and unknown == []
    centres, unknown = case_centres(None, spine(with_sacrum=False), volume)
    assert set(centres) == {24} and unknown == [SACRUM]
