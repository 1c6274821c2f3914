"""Views of a hand: frames lead back to the canvas, the inferer finds mirrored and turned hands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundles.hand_landmarks.scripts.alignment import overview_matrix, upright_matrix
from bundles.hand_landmarks.scripts.augmentation import RandHandViewd
from bundles.hand_landmarks.scripts.inferer import HandLandmarkInferer, hand_score
from bundles.hand_landmarks.scripts.landmark_set import read_landmark_set
from shared.geometry.deform import Deformation
from shared.geometry.frames import transform_points
from shared.geometry.heatmaps import decode_heatmaps, gaussian_heatmaps

CANVAS, SIZE = (240, 320), (144, 192)
HAND = read_landmark_set()
MEAN = torch.as_tensor(HAND.mean)


def hand_on_canvas(angle: float = 0.0, scale: float = 0.9, mirror: bool = False) -> torch.Tensor:
    """The mean hand in canvas indices (37, 2)."""
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = scale * MEAN @ turn.T + (torch.tensor(CANVAS) - 1) / 2
    if mirror:
        points = points * torch.tensor([-1.0, 1.0]) + torch.tensor([CANVAS[0] - 1.0, 0.0])
    return points.float()


class OracleNetwork(torch.nn.Module):
    """Knows left hands by heart: channel k of the input marks landmark k; a mirrored hand gives it no trust.

    The canvas holds one channel per landmark with a bright spot. Whether the view shows a left hand, fingers up within
    45 degrees, is read off the spots, as a network that has only seen such hands behaves.
    """

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        points, _ = decode_heatmaps(views)
        heatmaps = []
        for view in points:
            matrix, residuals = upright_matrix(view, MEAN, SIZE)
            angle = torch.atan2(matrix[1, 0], matrix[0, 0]).abs()
            good = residuals.mean() < 8 and angle < 0.8
            shuffled = view if good else view[torch.arange(36, -1, -1)]
            heatmaps.append(
                gaussian_heatmaps(shuffled[None] / 2, (SIZE[0] // 2, SIZE[1] // 2), 2.0)[0] * (1 if good else 0.3)
            )
        return torch.stack(heatmaps)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_overview_shows_the_whole_canvas(turns, mirror):
    matrix = overview_matrix(CANVAS, SIZE, turns, mirror)
    corners = torch.tensor([[0.0, 0.0], [CANVAS[0] - 1, 0], [0, CANVAS[1] - 1], [CANVAS[0] - 1, CANVAS[1] - 1]])
    inside = transform_points(torch.linalg.inv(matrix), corners)
    assert (inside >= -0.51).all() and (inside <= torch.tensor(SIZE) - 0.49).all()
    assert bool(matrix[:2, :2].det() < 0) == mirror


def test_upright_frame_holds_every_landmark_upright():
    for angle, scale in ((0.0, 0.9), (0.6, 0.5), (-2.0, 0.7)):
        points = hand_on_canvas(angle, scale)
        matrix, residuals = upright_matrix(points, MEAN, SIZE)
        upright = transform_points(torch.linalg.inv(matrix), points)
        assert residuals.max() < 1e-3
        assert (upright > 4).all() and (upright < torch.tensor(SIZE) - 5).all()
        direction = upright[28] - upright[3]
        assert direction[1] < 0 and abs(direction[0]) < 0.2 * abs(direction[1]), "middle finger up"
        assert upright[18, 0] > upright[33, 0], "thumb to the right of the little finger"


def test_absent_landmarks_do_not_matter_for_the_frame():
    points = hand_on_canvas(0.2)
    points[20] = float("nan")
    matrix, residuals = upright_matrix(points, MEAN, SIZE)
    assert matrix.isfinite().all() and len(residuals) == 36


@pytest.mark.parametrize("angle, mirror", [(0.1, False), (0.1, True), (np.pi / 2, False), (np.pi, True), (-0.3, False)])
def test_hand_is_found_in_every_view(angle, mirror):
    points = hand_on_canvas(angle, 0.75, mirror)
    canvas = gaussian_heatmaps(points[None], CANVAS, 3.0)[0]
    inferer = HandLandmarkInferer(HAND, size=SIZE, stride=2, passes=2, views=2, amp=False)
    inferer.look = lambda c, network, matrices: look(inferer, c, network, matrices)
    found = inferer.locate(canvas, OracleNetwork())
    assert (found[:, :2] - points).norm(dim=1).max() < 1.0
    assert found[:, 2].min() > 0.7


def look(inferer, canvas, network, matrices):
    """As the inferer's own, for a canvas of 37 channels."""
    views = torch.stack([Deformation(m[:2].float(), None, SIZE).apply(canvas) for m in matrices])
    points, peaks = decode_heatmaps(network(views), inferer.stride)
    return torch.stack([transform_points(m, p) for p, m in zip(points, matrices, strict=True)]), peaks.clamp(0, 1)


def test_score_tells_hands_from_scattered_points():
    sure = torch.ones(37)
    assert hand_score(sure, torch.full((37,), 4.0)) > 0.8
    assert hand_score(sure, torch.full((37,), 40.0)) < 0.01
    assert hand_score(0.1 * sure, torch.full((37,), 4.0)) < 0.15


def test_random_views_move_image_and_landmarks_together_and_repeat():
    points = hand_on_canvas()
    canvas = gaussian_heatmaps(points[None], CANVAS, 3.0)[0]
    transform = RandHandViewd(HAND, size=SIZE)
    for seed in range(6):
        transform.set_random_state(seed=seed)
        first = transform({"image": canvas, "landmarks": points})
        transform.set_random_state(seed=seed)
        again = transform({"image": canvas, "landmarks": points})
        assert torch.equal(first["image"], again["image"])
        seen = first["landmarks"].isfinite().all(dim=1)
        assert seen.float().mean() > 0.7
        found, peaks = decode_heatmaps(first["image"][None])
        inner = ((first["landmarks"] > 5) & (first["landmarks"] < torch.tensor(SIZE) - 6)).all(dim=1)
        assert (found[0][inner] - first["landmarks"][inner]).norm(dim=1).max() < 1.0
        side = np.sign(np.linalg.det(np.stack([found[0][18] - found[0][33], found[0][25] - found[0][1]])))
        assert side == -1, "never mirrored"
