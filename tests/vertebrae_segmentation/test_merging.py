"""Joining crops by probability on the grid of the CT."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundles.vertebrae_segmentation.scripts.merging import LabelMerger, largest_component
from shared.spine import box_sampling
from shared.spine.box_sampling import covered_box, sample_box


def grid(spacing: float, origin: tuple[float, float, float]) -> np.ndarray:
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = origin
    return affine


def ball(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float, spacing: float, soft: float = 4.0
) -> torch.Tensor:
    """Probability that falls from 1 inside to 0 outside of a ball, one half at its surface."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm((index - np.array(centre)) * spacing, axis=-1)
    return torch.from_numpy(np.clip((radius - distance) / soft + 0.5, 0, 1)).float()


def test_a_ball_lands_where_it_was() -> None:
    """A ball at (20, 5, -8) mm in a 1.5 mm crop, on a left-posterior-oriented grid of 1 x 1 x 2.5 mm."""
    affine = np.array([[-1.0, 0, 0, 60], [0, -1, 0, 50], [0, 0, 2.5, -60], [0, 0, 0, 1]])
    merger = LabelMerger((80, 90, 40), affine)
    crop = grid(1.5, (-10.0, -25.0, -38.0))
    merger.add(7, ball((40, 40, 40), (20, 20, 20), 12.0, 1.5), crop)
    found = np.argwhere(merger.finish() == 7) @ affine[:3, :3].T + affine[:3, 3]
    assert np.allclose(found.mean(axis=0), [20, 5, -8], atol=0.3)
    assert abs(len(found) * 2.5 / (4 / 3 * np.pi * 12**3) - 1) < 0.08


def test_higher_probability_wins_in_any_order() -> None:
    """Two balls that overlap are divided in the middle; the order of adding does not matter."""
    maps = []
    for order in ((1, 2), (2, 1)):
        merger = LabelMerger((60, 40, 40), np.eye(4))
        for label in order:
            merger.add(label, ball((60, 40, 40), (22.5 if label == 1 else 35.0, 20, 20), 10.0, 1.0, 20.0), np.eye(4))
        maps.append(merger.finish())
    assert (maps[0] == maps[1]).mean() > 0.9999  # but for ties on the middle plane
    assert maps[0][25:28, 20, 20].tolist() == [1, 1, 1] and maps[0][31:34, 20, 20].tolist() == [2, 2, 2]


def test_floor_and_largest_component() -> None:
    probability = ball((60, 40, 40), (20, 20, 20), 8.0, 1.0)
    probability[50:54, 20:24, 20:24] = 0.9  # a second, smaller piece
    probability[:, :, 38:] = 0.45  # below the floor
    merger = LabelMerger((60, 40, 40), np.eye(4))
    voxels = merger.add(3, probability, np.eye(4))
    labels = merger.finish()
    assert voxels == (labels == 3).sum() > 0
    assert (labels[45:] == 0).all() and (labels[:, :, 36:] == 0).all()


def test_holes_are_filled_and_canals_are_not() -> None:
    probability = ball((40, 40, 40), (20, 20, 20), 10.0, 1.0)
    probability[18:21, 18:21, 14:17] = 0.0  # enclosed
    probability[24:26, 24:26, :] = 0.0  # leads out at both ends
    merger = LabelMerger((40, 40, 40), np.eye(4))
    merger.add(3, probability, np.eye(4))
    labels = merger.finish()
    assert (labels[18:21, 18:21, 14:17] == 3).all() and (labels[24:26, 24:26] == 0).all()


def test_crops_outside_of_the_image_and_empty_ones_do_nothing() -> None:
    merger = LabelMerger((30, 30, 30), np.eye(4))
    assert merger.add(1, torch.ones(10, 10, 10), grid(1.0, (100, 0, 0))) == 0
    assert merger.add(2, torch.zeros(10, 10, 10), np.eye(4)) == 0
    assert merger.add(3, torch.ones(10, 10, 10), grid(1.0, (-5, -5, -5))) == 125
    assert (merger.finish() == 3).sum() == 125


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, turn = torch.rand(20, 21, 22), np.eye(4)
    turn[:3, :3] = [[0.8, -0.1, 0], [0.1, 0.7, 0.2], [0, -0.2, 0.5]]
    box = (slice(0, 18), slice(2, 20), slice(1, 30))
    whole = sample_box(values, turn, box)
    monkeypatch.setattr(box_sampling, "SLAB_VOXELS", 700)
    assert torch.allclose(sample_box(values, turn, box), whole, atol=1e-6)


def test_box_of_a_turned_grid() -> None:
    turn = np.array([[0, -1.0, 0, 9], [1, 0, 0, 0], [0, 0, 2, 3], [0, 0, 0, 1]])
    assert covered_box((0, 0, 0), (4, 5, 2), turn, (20, 20, 20)) == (slice(4, 10), slice(0, 5), slice(3, 8))
    assert covered_box((0, 0, 0), (4, 5, 2), turn + np.diag([0, 0, 0, 0]), (3, 20, 20)) is None


def test_largest_component() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[:3, :3, :3] = mask[7:9, 7:9, 7:9] = True
    assert largest_component(mask).sum() == 27
    assert largest_component(np.zeros((3, 3, 3), bool)).sum() == 0
