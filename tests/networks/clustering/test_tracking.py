"""Maps of where a prediction is right, and weights of regions."""

from __future__ import annotations

import math

import pytest
import torch

from bundles.xray_to_ct_clustering.scripts.roi import roi_weight_map
from shared.networks.clustering import PositionIntensityTracker

TRACK = PositionIntensityTracker()


def test_a_perfect_prediction_is_as_accurate_as_its_place_is_important() -> None:
    truth = torch.rand(2, 1, 5, 4, 3)
    maps = TRACK(truth, truth)
    assert all(value.shape == (2, 5, 4, 3) for value in maps.values())
    assert torch.equal(maps["position_accuracy"], maps["position_weight"])
    assert not maps["intensity_error"].any() and not maps["contrast_error"].any()
    # the centre of an odd axis counts fully; the corner is at (0.8, 0.75, 2/3)
    assert float(maps["position_weight"][0, 0, 0, 0]) == pytest.approx(math.exp(-(0.8**2 + 0.75**2 + (2 / 3) ** 2)))
    assert int(maps["position_weight"][0].argmax()) in (2 * 12 + 1 * 3 + 1, 2 * 12 + 2 * 3 + 1)


def test_an_error_is_where_it_was_made() -> None:
    truth = torch.rand(1, 1, 6, 6, 6)
    pred = truth.clone()
    pred[0, 0, 2, 3, 4] += 0.25
    maps = TRACK(pred, truth)
    assert maps["intensity_error"].nonzero().tolist() == [[0, 2, 3, 4]]
    assert float(maps["intensity_error"].sum()) == pytest.approx(0.25, abs=1e-6)
    # six faces of the voxel, of which three belong to the voxel itself
    assert float(maps["contrast_error"].sum()) == pytest.approx(6 * 0.25, abs=1e-5)
    assert float(maps["contrast_error"][0, 2, 3, 4]) == pytest.approx(3 * 0.25, abs=1e-6)


def test_a_constant_error_has_no_contrast_error_and_is_felt_at_any_size() -> None:
    truth = torch.rand(1, 1, 3, 3, 3)
    pred = (truth + 5).requires_grad_()
    maps = TRACK(pred, truth)
    assert float(maps["contrast_error"].abs().max()) < 1e-5
    assert float(maps["position_accuracy"][0, 1, 1, 1]) == pytest.approx(-4, abs=1e-5)
    (gradient,) = torch.autograd.grad(maps["position_accuracy"].sum(), pred)
    assert torch.allclose(gradient[0, 0], -maps["position_weight"][0], atol=1e-6)


def test_what_is_not_known_does_not_count() -> None:
    truth, pred = torch.rand(1, 1, 4, 4, 4), torch.rand(1, 1, 4, 4, 4).requires_grad_()
    truth[..., 0] = torch.nan
    maps = TRACK(pred, truth)
    assert all(bool(value.isfinite().all()) and not value[..., 0].any() for value in maps.values())
    assert float(maps["known"].sum()) == 48
    inner = TRACK(pred[..., 1:].detach(), truth[..., 1:])
    assert torch.allclose(maps["contrast_error"][..., 1:], inner["contrast_error"], atol=1e-6)
    (gradient,) = torch.autograd.grad(torch.stack(list(maps.values())).sum(), pred)
    assert not gradient[..., 0].any() and bool(gradient.isfinite().all())


def test_regions_weigh_what_they_are_told() -> None:
    labels = torch.zeros(1, 1, 4, 4, 4)
    labels[..., 1, :], labels[..., 2, :] = 5, 7
    weight = roi_weight_map(labels, {5: 3.0, 7: 0.0}, default=0.5)
    assert sorted(weight.unique().tolist()) == [0.0, 0.5, 3.0]
    volume = torch.rand(1, 1, 4, 4, 4)
    maps, plain = TRACK(volume, volume, weight), TRACK(volume, volume)
    assert torch.allclose(maps["position_weight"], plain["position_weight"] * weight[:, 0])
    assert torch.equal(maps["intensity_error"], plain["intensity_error"])
    with pytest.raises(ValueError, match="negative"):
        roi_weight_map(labels, {1: -1.0})


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        TRACK(torch.rand(1, 1, 4, 4, 4), torch.rand(1, 1, 4, 4, 2))


def test_scripted_equals_eager() -> None:
    pred, truth = torch.rand(1, 1, 4, 3, 2), torch.rand(1, 1, 4, 3, 2)
    scripted = torch.jit.script(TRACK)(pred, truth)
    assert all(torch.allclose(scripted[name], value) for name, value in TRACK(pred, truth).items())


def test_a_narrow_weight_looks_at_the_middle() -> None:
    truth = torch.zeros(1, 1, 9, 9, 9)
    edge = truth.clone()
    edge[..., 0, :, :] = 0.5
    accuracy = []
    for width in (0.3, 1.0):
        maps = PositionIntensityTracker(width)(edge, truth)
        accuracy.append(float(maps["position_accuracy"].sum() / maps["position_weight"].sum()))
        assert float(maps["position_weight"][0, 4, 4, 8]) == pytest.approx(math.exp(-((8 / 9 / width) ** 2)), rel=1e-4)
    assert accuracy[0] > accuracy[1]
    with pytest.raises(ValueError, match="above 0"):
        PositionIntensityTracker(0.0)
