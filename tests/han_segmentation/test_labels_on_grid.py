"""Labels back on the grid of the CT: exactly what interpolating all scores gives, in any orientation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates

from bundles.han_segmentation.scripts import labels_on_grid as module
from bundles.han_segmentation.scripts.labels_on_grid import agreeing_cells, labels_on_grid

GRID = np.array([[2.0, 0, 0, -11], [0, 2.0, 0, 5], [0, 0, 2.0, 40], [0, 0, 0, 1]])


def smooth_scores(seed: int = 0) -> torch.Tensor:
    """Probabilities (5, 10, 12, 9) with regions of several voxels and background at the border."""
    noise = torch.randn(1, 5, 4, 5, 4, generator=torch.Generator().manual_seed(seed)) * 4
    logits = F.interpolate(noise, (10, 12, 9), mode="trilinear")[0]
    edge = torch.ones(10, 12, 9)
    edge[1:-1, 1:-1, 1:-1] = 0
    logits[0] += 20 * edge
    return logits.softmax(dim=0)


def reference(scores: torch.Tensor, affine: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"))
    matrix = np.linalg.inv(GRID) @ affine
    places = np.tensordot(matrix[:3, :3], index, 1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    values = [map_coordinates(channel, places, order=1, mode="nearest") for channel in scores.numpy()]
    best = np.argmax(values, axis=0)
    shape = np.array(scores.shape[1:]).reshape(3, 1, 1, 1)
    best[((places < -0.5) | (places > shape - 0.5)).any(axis=0)] = 0
    return best.astype(np.uint8)


@pytest.mark.parametrize("turned", [False, True])
def test_equal_to_interpolating_everything(turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLAB_VOXELS", 3000)  # several slabs and chunks
    monkeypatch.setattr(module, "CHUNK_PLACES", 100)
    affine = np.array([[0, -0.7, 0, 12.0], [0.6, 0, 0, 3.0], [0, 0, 1.1, 38.0], [0, 0, 0, 1]])
    if turned:
        angle = 0.3
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = turn @ affine
    size = (40, 36, 20)
    scores = smooth_scores()
    expected = reference(scores, affine, size)
    assert len(np.unique(expected)) == 5
    assert (labels_on_grid(scores, GRID, affine, size) == expected).mean() > 0.9999  # ties of rounding


def test_a_point_comes_back_where_it_was_put() -> None:
    scores = torch.zeros(3, 10, 12, 9)
    scores[0] = 0.4
    scores[2, 4, 7, 3] = 1.0
    affine = np.diag([-0.5, -0.5, 1.0, 1.0])
    affine[:3, 3] = GRID[:3, :3] @ [4, 7, 3] + GRID[:3, 3] + [5, 4, -6]
    found = np.argwhere(labels_on_grid(scores, GRID, affine, (20, 20, 20)) == 2)
    assert np.allclose(found.mean(axis=0), [10, 8, 6])


def test_nothing_found_and_nothing_covered() -> None:
    scores = torch.zeros(3, 4, 4, 4)
    scores[0] = 1
    assert not labels_on_grid(scores, GRID, np.eye(4), (5, 6, 7)).any()
    scores[1] = 2
    away = np.eye(4)
    away[:3, 3] = 1000
    assert not labels_on_grid(scores, GRID, away, (5, 6, 7)).any()


def test_cells_agree_only_where_all_eight_voxels_do() -> None:
    best = torch.zeros(4, 4, 4, dtype=torch.long)
    best[2, 2, 2] = 3
    cells = agreeing_cells(best)
    assert int((cells < 0).sum()) == 8 and bool((cells[1:3, 1:3, 1:3] < 0).all())
