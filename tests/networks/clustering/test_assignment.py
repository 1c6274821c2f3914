"""Soft clusters of voxels, in one level and in two."""

from __future__ import annotations

import pytest
import torch

from bundles.xray_to_ct_clustering.scripts.clusters.losses import assignment_entropy, diversity_loss
from shared.networks.clustering import HierarchicalClusteringModule, VoxelClusteringModule
from shared.networks.clustering.position import grid_positions

GRID = (4, 4, 4)


@pytest.fixture
def voxels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, positions and intensities of 64 voxels."""
    generator = torch.Generator().manual_seed(0)
    features, intensity = torch.randn(2, 64, 16, generator=generator), torch.rand(2, 64, 1, generator=generator)
    return features, grid_positions(GRID), intensity


@pytest.mark.parametrize("kind", [VoxelClusteringModule, HierarchicalClusteringModule])
def test_assignments_are_probabilities_with_gradients_to_every_parameter(kind, voxels) -> None:
    module = kind(16, 16)
    assignments = module(*voxels)
    assert assignments.shape == (2, 64, 16)
    assert torch.allclose(assignments.sum(-1), torch.ones(2, 64), atol=1e-5)
    (assignments * torch.randn(16)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_an_untrained_module_clusters_and_uses_what_it_has(voxels) -> None:
    """Cosine similarity at temperature 1 leaves an entropy of 0.9995 log K: no clusters at all."""
    torch.manual_seed(0)
    assignments = VoxelClusteringModule(16, 16)(*voxels).detach()
    assert float(assignment_entropy(assignments).mean()) < 0.7
    assert float(diversity_loss(assignments)) < 0.3


def test_logits_are_those_of_the_formula(voxels) -> None:
    module = VoxelClusteringModule(16, 8)
    features, positions, intensity = voxels
    apart = torch.cdist(positions, module.position_centroids).square()
    denser = (intensity - module.intensity_centroids).square()
    weights = module.position_weight(), module.intensity_weight()
    score = module.similarity(features) - weights[0] * apart - weights[1] * denser
    assert float(module.temperature()) == pytest.approx(0.1)
    assert torch.allclose(module(*voxels), (score / 0.1).softmax(-1), atol=1e-5)


def test_voxels_go_to_the_cluster_that_lies_where_they_lie(voxels) -> None:
    module = VoxelClusteringModule(16, 2)
    module.set_centroids(torch.tensor([[-0.5, 0, 0], [0.5, 0, 0]]), torch.tensor([0.5, 0.5]))
    features, positions, intensity = voxels
    assignments = module.assign(torch.zeros(2, 64, 2), positions, intensity)
    assert torch.equal(assignments.argmax(-1)[0], (positions[:, 0] > 0).long())


def test_without_position_a_voxel_may_be_anywhere(voxels) -> None:
    features, positions, intensity = voxels
    moved = positions.flip(0)
    without = VoxelClusteringModule(16, 8, use_position=False)
    assert torch.equal(without(features, positions, intensity), without(features, moved, intensity))
    with_position = VoxelClusteringModule(16, 8)
    assert not torch.allclose(with_position(features, positions, intensity), with_position(features, moved, intensity))


@pytest.mark.parametrize("sharpness, temperature", [(-1e3, 1.0), (1e3, 0.03)])
def test_the_temperature_is_bounded(sharpness: float, temperature: float) -> None:
    module = VoxelClusteringModule(8, 4)
    torch.nn.init.constant_(module.sharpness, sharpness)
    assert float(module.temperature()) == pytest.approx(temperature)


@pytest.mark.parametrize("clusters", [2, 4, 8, 64])
@pytest.mark.parametrize("kind", ["even", "placed at random"])
def test_no_assignment_is_out_of_reach_of_gradients(clusters: int, kind: str) -> None:
    """A softmax is alive where 1 - sum of squares is not 0: at the start nearly everywhere, and, with everything driven
    to its sharpest, still for many voxels. With a temperature of 0.01 and few clusters nine in ten were lost for good.
    """
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    module = VoxelClusteringModule(16, clusters)
    if kind != "even":
        places = 2 * torch.rand(clusters, 3, generator=generator) - 1
        module.set_centroids(places, torch.rand(clusters, generator=generator))
    features, intensity = torch.randn(1, 512, 16, generator=generator), torch.rand(1, 512, 1, generator=generator)
    for name, least in (("start", 0.9 if kind == "even" else 0.6), ("sharpest", 0.2)):
        if name == "sharpest":
            torch.nn.init.constant_(module.sharpness, 1e3)
        with torch.no_grad():
            assignments = module(features, grid_positions((8, 8, 8)), 0.5 * intensity)
        alive = 1 - assignments.square().sum(-1)
        assert float((alive > 1e-3).float().mean()) > least, name


def test_coarse_clusters_are_the_sums_of_their_children(voxels) -> None:
    module = HierarchicalClusteringModule(16, 12, coarse_clusters=3)
    coarse = module.coarse_assignments(module(*voxels))
    assert torch.allclose(coarse, module.coarse(*voxels), atol=1e-5)


def test_centroids_of_a_hierarchy_are_means_of_children() -> None:
    module = HierarchicalClusteringModule(8, 4, coarse_clusters=2)
    positions = torch.tensor([[-1.0, 0, 0], [-0.5, 0, 0], [0.5, 0, 0], [1.0, 0, 0]])
    module.set_centroids(positions, torch.tensor([0.0, 0.2, 0.6, 0.8]))
    assert torch.allclose(module.coarse.position_centroids[:, 0], torch.tensor([-0.75, 0.75]))
    assert torch.allclose(module.coarse.intensity_centroids, torch.tensor([0.1, 0.7]))


@pytest.mark.parametrize("kind", [VoxelClusteringModule, HierarchicalClusteringModule])
def test_scripted_equals_eager(kind, voxels) -> None:
    module = kind(16, 16)
    assert torch.allclose(torch.jit.script(module)(*voxels), module(*voxels), atol=1e-6)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="two clusters"):
        VoxelClusteringModule(8, 1)
    with pytest.raises(ValueError, match="divided"):
        HierarchicalClusteringModule(8, 10, coarse_clusters=4)
    with pytest.raises(ValueError, match="4 clusters"):
        VoxelClusteringModule(8, 4).set_centroids(torch.zeros(3, 3), torch.zeros(3))


def test_temperature_is_an_option_and_can_be_kept() -> None:
    torch.manual_seed(0)
    features, positions, intensity = torch.randn(1, 50, 16), torch.rand(50, 3), torch.rand(1, 50, 1)
    entropies = []
    for temperature in (0.05, 0.5):
        torch.manual_seed(1)
        module = VoxelClusteringModule(16, 8, temperature=temperature, learn_temperature=False)
        assert float(module.temperature()) == pytest.approx(temperature, rel=1e-4)
        assert not module.sharpness.requires_grad
        entropies.append(float(assignment_entropy(module(features, positions, intensity)).mean()))
    assert entropies[0] < entropies[1]  # lower is surer
    with pytest.raises(ValueError, match="between"):
        VoxelClusteringModule(16, 8, temperature=1.0)
