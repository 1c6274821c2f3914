"""Distances of surfaces against a brute-force search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from shared.evaluation.surfaces import surface_distances

SPACING = (0.7, 1.5, 3.0)


def surface(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)) * SPACING


@pytest.mark.parametrize("shift", [0, 3])
def test_every_surface_voxel_has_its_distance(shift: int) -> None:
    """Also where the masks reach the border of the array."""
    noise = np.random.default_rng(shift).normal(size=(2, 14, 12, 10))
    first, second = (ndimage.gaussian_filter(part, 1.5) > 0.02 for part in noise)
    second = np.roll(second, shift, axis=0)
    way = cdist(surface(first), surface(second))
    there, back = surface_distances(first, second, SPACING)
    np.testing.assert_allclose(np.sort(there), np.sort(way.min(axis=1)))
    np.testing.assert_allclose(np.sort(back), np.sort(way.min(axis=0)))


def test_far_boxes() -> None:
    first, second = np.zeros((2, 20, 8, 8), bool)
    first[2:4, 2:5, 2:5], second[12:14, 2:5, 2:5] = True, True
    there, back = surface_distances(first, second, (2.0, 1.0, 1.0))
    assert there.max() == back.max() == 20.0 and there.min() == 18.0


def test_empty_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="no surface"):
        surface_distances(*np.zeros((2, 3, 3, 3), bool), SPACING)
