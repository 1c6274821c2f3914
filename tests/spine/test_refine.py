"""Placing a chain by all heatmaps and the usual steps together."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from shared.geometry.heatmaps import gaussian_heatmaps
from shared.spine.candidates import CHANNELS
from shared.spine.refine import place_chain, refine_points
from shared.spine.statistics import load_statistics

LABELS = (14, 15, 16, 17, 18, 19, 20)  # T7 to L1


def blurred_spine() -> tuple[MetaTensor, dict[int, np.ndarray]]:
    """Heatmaps of a bent spine in which every channel also fires at its neighbours, one of them more strongly there."""
    statistics = load_statistics()
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-90, -60, -200)
    points = {LABELS[0]: np.array([5.0, 20.0, 80.0])}
    for upper, lower in zip(LABELS[:-1], LABELS[1:], strict=True):
        points[lower] = points[upper] + statistics.step(upper, lower).mean_mm + [2.0, 0.0, 0.0]
    index = (np.array(list(points.values())) - affine[:3, 3]) / 4.0
    single = gaussian_heatmaps(torch.as_tensor(index)[None].float(), (48, 40, 90), 2.0)[0]
    heatmaps = torch.zeros(len(CHANNELS), 48, 40, 90)
    for row, label in enumerate(LABELS):
        wrong = 0.7 if label == 17 else 0.35
        heatmaps[CHANNELS.index(label)] = 0.6 * single[row]
        for other in (row - 1, row + 1):
            if 0 <= other < len(LABELS):
                heatmaps[CHANNELS.index(label)] += wrong * single[other]
    return MetaTensor(heatmaps, affine=torch.as_tensor(affine)), points


def test_positions_are_found_from_a_wrong_start() -> None:
    """Vertebrae that are off by 10 mm, up and down in turn, come back to their places."""
    heatmaps, truth = blurred_spine()
    start = {label: point + [0.0, 0.0, 10.0 * (-1) ** label] for label, point in truth.items()}
    found = refine_points(heatmaps, start, load_statistics(), 0.6)
    assert list(found) == list(LABELS)
    for label, point in truth.items():
        assert np.linalg.norm(found[label] - point) < 4.0


def test_short_chains_stay() -> None:
    heatmaps, truth = blurred_spine()
    two = {label: truth[label] for label in LABELS[:2]}
    assert refine_points(heatmaps, two, load_statistics(), 0.6) == two


def test_a_chain_keeps_its_order_and_steps() -> None:
    places = np.stack([np.zeros(50), np.zeros(50), 2.0 * np.arange(50)], axis=1)
    chosen, _ = place_chain(np.zeros((4, 50)), places, np.array([20.0, 20.0, 20.0]))
    assert np.diff(chosen).tolist() == [-10, -10, -10]
