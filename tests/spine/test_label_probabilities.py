"""What the heatmaps believe about the label at a place: the softmax that the training optimises."""

import numpy as np
import pytest
import torch

from bundles.vertebrae_localization.scripts.losses import VertebraHeatmapLoss
from shared.geometry.heatmaps import gaussian_heatmaps
from shared.spine.candidates import CHANNELS, Candidate
from shared.spine.label_probabilities import allow_rare, label_log_probabilities
from shared.spine.sequence import label_spine
from tests.spine.simulated import phantom_spine

SHAPE = (20, 22, 40)
AFFINE = np.array([[4.0, 0, 0, -30.0], [0, 4.0, 0, 10.0], [0, 0, 4.0, 100.0], [0, 0, 0, 1]])
CENTRES = np.array([[9.0, 11.0, 30.0], [10.0, 10.5, 22.5]])  # voxels


def heatmaps() -> torch.Tensor:
    """Four heatmaps: two of their own centres, a brighter copy of the first on the second, an empty one."""
    spots = gaussian_heatmaps(torch.tensor(CENTRES, dtype=torch.float32)[None], SHAPE, 2.1)[0]
    return torch.stack([0.6 * spots[0], 0.6 * spots[1], 0.9 * spots[1], torch.zeros(SHAPE)])


def places() -> np.ndarray:
    return CENTRES @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def test_probabilities_at_known_places():
    found = label_log_probabilities(heatmaps(), AFFINE, places())
    assert found.shape == (2, 4)
    assert np.exp(found).sum(axis=1) == pytest.approx([1.0, 1.0])
    assert found.argmax(axis=1).tolist() == [0, 2]
    assert found[1, 2] > found[1, 1] > found[1, 3]


def test_it_is_what_the_training_compares():
    loss = VertebraHeatmapLoss(4, sigma=2.1, learnable_sigma=False)
    points = torch.full((4, 3), 1e5)
    points[0] = torch.tensor(CENTRES[0])
    expected = float(loss.label_loss(heatmaps()[None], points[None]))
    assert -label_log_probabilities(heatmaps(), AFFINE, places())[0, 0] == pytest.approx(expected, abs=0.01)


def test_outside_of_the_heatmaps_nothing_is_known():
    assert label_log_probabilities(heatmaps(), AFFINE, np.array([[9e3, 0, 0]]))[0] == pytest.approx([-np.log(4)] * 4)
    assert label_log_probabilities(heatmaps(), AFFINE, np.empty((0, 3))).shape == (0, 4)


def test_beliefs_decide_where_a_wrong_heatmap_is_brighter():
    spine = {k: p for k, p in phantom_spine(np.random.default_rng(1)).items() if 10 <= k <= 16}
    candidates = []
    for label, point in spine.items():  # every maximum of the label above is higher
        candidates += [Candidate(label, point, 0.6), Candidate(label - 1, point, 0.9)]

    def beliefs(points: np.ndarray) -> np.ndarray:
        logs = np.full((len(points), len(CHANNELS)), -6.0)
        for row, point in enumerate(points):
            label = min(spine, key=lambda k: float(np.linalg.norm(spine[k] - point)))
            logs[row, CHANNELS.index(label)] = -0.5
            logs[row, CHANNELS.index(label) - 1] = -1.0
        return logs

    assert list(label_spine(candidates).points) == [label - 1 for label in spine]
    assert list(label_spine(candidates, beliefs=beliefs).points) == list(spine)


def test_rare_vertebrae_are_believed_almost_like_their_neighbours():
    logs = np.full((2, len(CHANNELS)), -9.0)
    t12, t13, l1, l5, l6 = (CHANNELS.index(label) for label in (19, 28, 20, 24, 25))
    logs[0, [t12, l1, l5, l6]] = -2.0, -1.0, -3.0, -0.5
    found = allow_rare(logs, 0.3)
    assert found[0, [t12, t13, l1, l5, l6]].tolist() == [-2.0, -1.3, -1.0, -3.0, -0.5]
    assert found[1, t13] == pytest.approx(-9.0) and logs[0, t13] == -9.0
