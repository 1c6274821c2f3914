"""The vertebra heatmap loss: lowest at the truth, blind to what is unknown, and aware of exchanged labels."""

import pytest
import torch

from bundles.vertebrae_localization.scripts.losses import VertebraHeatmapLoss
from shared.geometry.heatmaps import HeatmapLoss

SHAPE = (12, 12, 16)


def make(foreground_weight: float = 10.0, label_weight: float = 20.0) -> VertebraHeatmapLoss:
    return VertebraHeatmapLoss(
        3, sigma=1.5, gamma=53.0, stride=2, foreground_weight=foreground_weight, label_weight=label_weight
    )


@pytest.fixture
def points() -> torch.Tensor:
    return torch.tensor([[[10.0, 12.0, 8.0], [12.0, 12.0, 22.0], [1e5, 1e5, 1e5]]])


def test_truth_has_the_lowest_loss(points: torch.Tensor) -> None:
    loss = make()
    truth = loss.targets(points, SHAPE).detach()
    swapped = truth[:, [1, 0, 2]]
    assert loss(truth, points) < loss(torch.zeros_like(truth), points) < loss(swapped, points)


def test_absent_vertebra_wants_an_empty_heatmap_and_an_unknown_one_nothing(points: torch.Tensor) -> None:
    loss = make()
    heatmaps = loss.targets(points, SHAPE).detach()
    false = heatmaps.clone()
    false[:, 2] = 0.5
    assert loss(false, points) > loss(heatmaps, points)
    unknown = points.clone()
    unknown[:, 2] = torch.nan
    plain = make(label_weight=0.0)
    assert torch.equal(plain(false, unknown), plain(heatmaps, unknown))


def test_without_its_terms_it_is_the_published_loss(points: torch.Tensor) -> None:
    mine = make(foreground_weight=0.0, label_weight=0.0)
    published = HeatmapLoss(3, sigma=1.5, learnable_sigma=True, gamma=53.0, stride=2)
    heatmaps = torch.rand(1, 3, *SHAPE)
    assert float(mine(heatmaps, points).detach()) == pytest.approx(float(published(heatmaps, points).detach()))


def test_empty_heatmaps_feel_which_is_which(points: torch.Tensor) -> None:
    loss = make()
    heatmaps = torch.zeros(1, 3, *SHAPE, requires_grad=True)
    loss.label_loss(heatmaps, points).backward()
    gradient = heatmaps.grad
    assert gradient is not None
    assert gradient[0, 0, 5, 6, 4] < 0 < gradient[0, 1, 5, 6, 4]


def test_no_vertebra_in_view_gives_a_number() -> None:
    loss = make()
    heatmaps = torch.zeros(1, 3, *SHAPE, requires_grad=True)
    value = loss(heatmaps, torch.full((1, 3, 3), 1e5))
    value.backward()
    assert torch.isfinite(value)
