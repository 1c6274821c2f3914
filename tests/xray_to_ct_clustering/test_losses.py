"""The loss: four terms with gradients, finite on any input, and its options."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bundles.xray_to_ct_clustering.scripts.clusters.losses import (
    assignment_entropy,
    cluster_consistency,
    diversity_loss,
    token_means,
)
from bundles.xray_to_ct_clustering.scripts.losses import ClusterTrackingLoss, laplace_nll
from bundles.xray_to_ct_clustering.scripts.roi import roi_weight_map

TERMS = ("position", "intensity", "contrast", "cluster")


def make_output(scale: float = 1.0, shift: float = 0.0) -> dict[str, Tensor]:
    """A prediction of 4³ voxels in 2³ tokens of 3 clusters."""
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(2, 1, 4, 4, 4, generator=generator) * scale + shift
    logits = torch.randn(2, 8, 3, generator=generator)
    return {"pred_volume": pred.requires_grad_(), "cluster_assignments": logits.softmax(-1).requires_grad_()}


def truth_volume() -> Tensor:
    return torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("term", TERMS)
def test_every_term_has_a_gradient_of_its_own(term: str) -> None:
    output = make_output()
    value = ClusterTrackingLoss().terms(output, truth_volume())[term]
    assert float(value) > 0
    inputs = [output["pred_volume"]] + [output["cluster_assignments"]] * (term == "cluster")
    assert all(bool(gradient.any()) for gradient in torch.autograd.grad(value, inputs))


def test_the_loss_is_the_weighted_sum() -> None:
    output, truth = make_output(), truth_volume()
    loss = ClusterTrackingLoss(1.0, 2.0, 3.0, 4.0)
    terms = loss.terms(output, truth)
    expected = sum(weight * terms[name] for weight, name in zip((1.0, 2.0, 3.0, 4.0), TERMS, strict=True))
    assert float(loss(output, truth)) == pytest.approx(float(expected), rel=1e-5)


def test_a_perfect_prediction_of_uniform_clusters_costs_nothing() -> None:
    truth = truth_volume()
    truth = torch.nn.functional.interpolate(truth[..., :2, :2, :2], scale_factor=2.0)  # one value per token
    output = {"pred_volume": truth, "cluster_assignments": torch.eye(8).expand(2, 8, 8)}
    assert float(ClusterTrackingLoss()(output, truth)) == pytest.approx(0, abs=1e-6)


def test_the_middle_of_the_volume_counts_more_in_the_position_term_alone() -> None:
    truth = torch.zeros(1, 1, 4, 4, 4)
    terms = []
    for place in (0, 1):
        pred = truth.clone()
        pred[0, 0, place, place, place] = 1
        terms.append(ClusterTrackingLoss().terms({**make_output(), "pred_volume": pred}, truth))
    assert float(terms[1]["position"]) > 2 * float(terms[0]["position"])
    assert float(terms[1]["intensity"]) == float(terms[0]["intensity"]) == pytest.approx(1 / 64)


def test_a_region_may_be_all_that_counts() -> None:
    output, truth = make_output(), truth_volume()
    labels = torch.zeros(1, 1, 4, 4, 4)
    labels[..., :2] = 1
    weight = roi_weight_map(labels, {1: 2.0}, default=0.0)
    term = ClusterTrackingLoss().terms(output, truth, weight)["position"]
    (gradient,) = torch.autograd.grad(term, output["pred_volume"])
    assert bool(gradient[..., :2].all()) and not gradient[..., 2:].any()


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (0.0, 0.5), (1e-30, 0.0), (1e4, -1e4), (1e30, 0.0)])
@pytest.mark.parametrize("known", [1.0, 0.5, 0.0])
def test_loss_and_gradient_are_finite_on_any_input(scale: float, shift: float, known: float) -> None:
    """Constant, tiny and huge predictions, hard assignments with empty clusters, truth unknown in part or wholly."""
    output, truth = make_output(scale, shift), truth_volume()
    truth[torch.rand(truth.shape, generator=torch.Generator().manual_seed(2)) >= known] = torch.nan
    hard = torch.zeros(2, 8, 3)
    hard[..., 0] = 1
    for assignments in (output["cluster_assignments"], hard.requires_grad_()):
        inputs = {"pred_volume": output["pred_volume"], "cluster_assignments": assignments}
        loss = ClusterTrackingLoss(lambda_diversity=0.1, lambda_entropy=0.1)(inputs, truth)
        assert bool(loss.isfinite())
        for gradient in torch.autograd.grad(loss, list(inputs.values())):
            assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_prediction_is_an_error_rather_than_a_number(bad: float) -> None:
    output = make_output()
    with torch.no_grad():
        output["pred_volume"][0, 0, 0, 0, 0] = bad
    with pytest.raises(ValueError, match="not finite"):
        ClusterTrackingLoss()(output, truth_volume())


def test_half_precision_is_computed_in_full() -> None:
    output, truth = make_output(), truth_volume()
    half = {name: value.detach().bfloat16() for name, value in output.items()}
    loss = ClusterTrackingLoss()(half, truth)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(ClusterTrackingLoss()(output, truth)), rel=0.02)


def test_consistency_is_the_variance_inside_clusters() -> None:
    values = torch.tensor([0.1, 0.3, 0.8, 0.9, 0.4])
    members = torch.tensor([0, 0, 1, 1, 1])
    variances = torch.stack([values[members == k].var(correction=0) * (members == k).sum() for k in (0, 1)])
    assignments = torch.nn.functional.one_hot(members, 3).float()[None]  # the third cluster is empty
    assert float(cluster_consistency(values[None, :, None], assignments)) == pytest.approx(float(variances.sum() / 5))


def test_entropy_and_diversity_have_their_ends() -> None:
    sure = torch.eye(4)[None]
    undecided = torch.full((1, 4, 4), 0.25)
    collapsed = torch.eye(4)[:1].expand(1, 4, 4)
    assert float(assignment_entropy(sure).mean()) == pytest.approx(0, abs=1e-6)
    assert float(assignment_entropy(undecided).mean()) == pytest.approx(1)
    assert float(diversity_loss(sure)) == pytest.approx(0, abs=1e-6)
    assert float(diversity_loss(collapsed)) == pytest.approx(1)


def test_gradient_steps_on_diversity_spread_the_clusters() -> None:
    logits = torch.randn(1, 32, 4, generator=torch.Generator().manual_seed(0)) + torch.tensor([3.0, 0, 0, 0])
    logits.requires_grad_()
    before = float(diversity_loss(logits.softmax(-1)))
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        diversity_loss(logits.softmax(-1)).backward()
        optimizer.step()
    assert float(diversity_loss(logits.softmax(-1))) < 0.1 * before


def test_uncertainty_learns_the_size_of_the_error_and_leaves_the_prediction_alone() -> None:
    output, truth = make_output(), truth_volume()
    scale = torch.full((2, 1, 4, 4, 4), 0.05, requires_grad=True)
    term = ClusterTrackingLoss().terms({**output, "uncertainty": scale}, truth)["uncertainty"]
    gradients = torch.autograd.grad(term, [output["pred_volume"], scale], allow_unused=True)
    error = (output["pred_volume"] - truth).abs()
    assert gradients[0] is None
    assert torch.equal(gradients[1] < 0, error > 0.05)  # too small a scale grows, too large a one shrinks
    scales = torch.linspace(0.01, 1, 100)
    assert float(scales[laplace_nll(torch.tensor(0.3), scales).argmin()]) == pytest.approx(0.3, abs=0.01)


def test_tokens_are_cubes_of_voxels() -> None:
    volume = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    assert torch.equal(token_means(volume, 64)[0, :, 0], volume.flatten())
    means = token_means(volume, 8)
    assert float(means[0, 1, 0]) == float(volume[..., :2, :2, 2:].mean())  # the last axis varies fastest
    with pytest.raises(ValueError, match="cubes"):
        token_means(volume, 16)
