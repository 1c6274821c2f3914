import math

import pytest
import torch
from monai.transforms import GenerateHeatmap

from shared.geometry.heatmaps import HeatmapLoss, decode_heatmaps, gaussian_heatmaps


@pytest.mark.parametrize("shape", [(40, 56), (24, 32, 40)])
def test_heatmaps_equal_monai(shape):
    points = torch.rand(4, len(shape)) * (torch.tensor(shape) - 12) + 6
    ours = gaussian_heatmaps(points[None], shape, 2.0)[0]
    monai = torch.as_tensor(GenerateHeatmap(sigma=2.0, spatial_shape=shape)(points.round()))
    ours_rounded = gaussian_heatmaps(points.round()[None], shape, 2.0)[0]
    assert torch.allclose(ours_rounded, monai, atol=1e-2)  # MONAI cuts its Gaussians off at 3 sigma
    assert ours.amax() <= 1


@pytest.mark.parametrize("shape, sigma", [((40, 56), 2.0), ((40, 56), 1.5), ((24, 32, 40), 2.0)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_point_is_found_again(shape, sigma, stride):
    generator = torch.Generator().manual_seed(3)
    margin = 8
    points = torch.rand(3, 20, len(shape), generator=generator) * (torch.tensor(shape) - 1 - 2 * margin) + margin
    found, peaks = decode_heatmaps(gaussian_heatmaps(points, shape, sigma), stride=stride)
    assert (found - stride * points).abs().max() < 0.06 * stride
    assert peaks.min() > 0.85 and peaks.max() <= 1


def test_a_point_at_the_edge_stays_within_a_pixel():
    points = torch.tensor([[[0.0, 0.0], [39.0, 55.0], [0.0, 30.0]]])
    found, _ = decode_heatmaps(gaussian_heatmaps(points, (40, 56), 2.0))
    assert (found - points).abs().max() < 1.0


def test_flat_heatmaps_give_a_pixel_and_no_trust():
    found, peaks = decode_heatmaps(torch.zeros(1, 2, 8, 8))
    assert torch.isfinite(found).all() and (peaks == 0).all()


def test_absent_landmarks_have_no_heatmap_and_no_loss():
    points = torch.tensor([[[10.0, 12.0], [math.nan, math.nan]]])
    heatmaps = gaussian_heatmaps(points, (24, 32), 2.0)
    assert heatmaps[0, 1].abs().max() == 0 and torch.isfinite(heatmaps).all()
    loss = HeatmapLoss(2)
    pred = heatmaps.clone()
    pred[0, 1] = 7.0  # whatever is said about an absent landmark does not count
    assert loss(pred, points) == 0
    pred[0, 0] += 0.1
    assert torch.isclose(loss(pred, points), torch.tensor(24 * 32 * 0.01), rtol=1e-4)


def test_a_batch_without_any_landmark_has_a_finite_loss():
    points = torch.full((2, 3, 2), math.nan)
    for learnable in (False, True):
        assert HeatmapLoss(3, learnable_sigma=learnable)(torch.rand(2, 3, 16, 16), points) == 0


def test_stride_brings_image_points_to_the_heatmap():
    points = torch.tensor([[[20.0, 24.0]]])
    targets = HeatmapLoss(1, stride=2).targets(points, (24, 32))
    assert torch.unravel_index(targets.argmax(), targets.shape)[2:] == (10, 12)


def test_learnable_sigma_follows_the_width_of_the_prediction_and_absent_ones_stay():
    """For heatmaps of a fixed width the loss is smallest near that width; the published scaling keeps it from 0."""
    points = torch.tensor([[[16.0, 16.0], [math.nan, math.nan]]])
    loss = HeatmapLoss(2, sigma=5.0, learnable_sigma=True, alpha=0.001, gamma=100.0)
    with torch.no_grad():
        wanted = HeatmapLoss(2, sigma=3.0, learnable_sigma=True, gamma=100.0).targets(points, (32, 32))
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(wanted, points).backward()
        optimizer.step()
    assert abs(float(loss.sigma[0].detach()) - 3.0) < 0.1
    assert float(loss.sigma[1].detach()) == 5.0


def test_published_scale_integrates_to_gamma():
    targets = HeatmapLoss(1, sigma=3.0, learnable_sigma=True, gamma=100.0).targets(
        torch.tensor([[[32.0, 32.0]]]), (65, 65)
    )
    assert torch.isclose(targets.sum(), torch.tensor(100.0), rtol=1e-3)
