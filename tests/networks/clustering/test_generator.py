"""The generator: outputs, options, gradients, geometry, exports."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bundles.xray_to_ct_clustering.scripts.clusters.voxels import voxel_clusters
from bundles.xray_to_ct_clustering.scripts.losses import ClusterTrackingLoss
from shared.networks.clustering import BiplanarCTNetwork, BiplanarGeometry, SpatialClusteringCTGenerator

GEOMETRY = BiplanarGeometry(rows=16, columns=16, pixel_mm=28.0)
MAPS = {"position_accuracy", "position_weight", "intensity_error", "contrast_error", "known"}


def small(**options: Any) -> SpatialClusteringCTGenerator:
    """8 x 8 x 12 voxels of 25 mm, in 2 x 2 x 3 tokens of 4³ by default."""
    torch.manual_seed(0)
    settings: dict[str, Any] = dict(
        volume_size=(8, 8, 12), num_clusters=4, voxel_dim=16, num_blocks=2, num_heads=2, spacing_mm=25.0
    )
    settings |= dict(image_channels=(4, 8), geometry=GEOMETRY) | options
    return SpatialClusteringCTGenerator(**settings)


def xrays(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    frontal, lateral = torch.rand(2, batch, 1, 16, 16, generator=generator)
    return frontal, lateral


@pytest.mark.parametrize("token_size, tokens", [(4, 12), (2, 96), (1, 768)])
def test_output_has_the_sizes_that_are_promised(token_size: int, tokens: int) -> None:
    generator = small(token_size=token_size, num_blocks=1)
    output = generator(*xrays())
    assert set(output) & MAPS == set()
    assert output["pred_volume"].shape == output["uncertainty"].shape == (2, 1, 8, 8, 12)
    assert output["cluster_assignments"].shape == (2, tokens, 4)
    assert torch.allclose(output["cluster_assignments"].sum(-1), torch.ones(2, tokens), atol=1e-5)
    assert float(output["uncertainty"].min()) > 0


def test_a_truth_adds_the_tracking_maps() -> None:
    output = small()(*xrays(), torch.rand(2, 1, 8, 8, 12))
    assert {name for name, value in output.items() if value.shape == (2, 8, 8, 12)} == MAPS


OPTIONS: list[dict[str, Any]] = [
    {},
    {"use_position": False},
    {"use_clustering": False},
    {"coarse_clusters": 2},
    {"dropout": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_every_parameter_that_can_learn_does(options: dict[str, Any]) -> None:
    generator = small(**options)
    torch.nn.init.normal_(generator.head.weight, std=0.1)
    output = generator(*xrays())
    ClusterTrackingLoss(lambda_uncertainty=0.1)(output, torch.rand(2, 1, 8, 8, 12)).backward()
    silent = {
        name for name, p in generator.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    }
    if options.get("use_clustering") is False:  # a bias that is the same for all pairs changes nothing
        assert all("cluster_bias" in name for name in silent)
    else:
        assert not silent


def test_without_clustering_all_tokens_share_one_cluster() -> None:
    generator = small(use_clustering=False)
    before = generator(*xrays())
    assert torch.equal(before["cluster_assignments"], torch.full((2, 12, 4), 0.25))
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "cluster_bias" in name:
                parameter.normal_()
    assert torch.allclose(generator(*xrays())["pred_volume"], before["pred_volume"], atol=1e-5)


def test_without_position_only_the_images_tell_tokens_apart() -> None:
    """Images without content leave all inner tokens alike; with position they differ."""
    blank = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    for use_position in (False, True):
        intensity = small(use_position=use_position, volume_size=(8, 8, 8), spacing_mm=5.0)(*blank)["token_intensity"]
        assert (float(intensity.std()) < 1e-5) is not use_position


def test_the_views_have_roles_and_cases_do_not_mix() -> None:
    generator = small().eval()
    frontal, lateral = xrays()
    volume = generator(frontal, lateral)["pred_volume"]
    assert not torch.allclose(generator(lateral, frontal)["pred_volume"], volume)
    assert torch.allclose(generator(frontal[1:], lateral[1:])["pred_volume"][0], volume[1], atol=1e-5)


def test_a_change_in_an_image_shows_where_its_rays_go() -> None:
    """A finer decoder without attention sees a spot in the frontal image along one line from front to back."""
    generator = small(volume_size=(8, 8, 8), token_size=2, num_blocks=0, image_channels=(4,), use_clustering=False)
    torch.nn.init.normal_(generator.head.weight)
    frontal, lateral = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    spot = frontal.clone()
    spot[0, 0, 4:6, 10:12] = 1.0  # above the middle, on the patient's left
    change = (generator(spot, lateral)["pred_volume"] - generator(frontal, lateral)["pred_volume"]).abs()[0, 0]
    x, y, z = (change.sum(dim) for dim in ((1, 2), (0, 2), (0, 1)))
    assert float(x[:4].sum()) > 1.2 * float(x[4:].sum())  # x runs to the patient's right
    assert float(z[4:].sum()) > 1.2 * float(z[:4].sum())
    assert float(y.min()) > 0.3 * float(y.max())


def test_views_of_a_case_replace_those_of_the_geometry() -> None:
    generator = small().eval()
    volume = generator(*xrays(1))["pred_volume"]
    same, other = (g.projections()[None] for g in (GEOMETRY, dataclasses.replace(GEOMETRY, sdd_mm=2200.0)))
    assert torch.equal(generator(*xrays(1), projections=same)["pred_volume"], volume)
    assert not torch.allclose(generator(*xrays(1), projections=other)["pred_volume"], volume)


def test_state_holds_parameters_alone() -> None:
    """Grids and cameras follow from the settings: weights fit another geometry and another volume size."""
    generator = small()
    assert set(generator.state_dict()) == {name for name, _ in generator.named_parameters()}
    other = dataclasses.replace(GEOMETRY, frontal="AP", parallel=True, pixel_mm=25.0)
    small(volume_size=(4, 8, 8), geometry=other).load_state_dict(generator.state_dict())


def test_voxel_clusters_follow_the_intensity_inside_a_token() -> None:
    generator = small(num_clusters=2)
    generator.clustering.set_centroids(torch.zeros(2, 3), torch.tensor([0.1, 0.9]))
    similarity = torch.zeros(1, 12, 2)
    volume = torch.where(torch.rand(1, 1, 8, 8, 12) > 0.5, 0.8, 0.2)
    labels, confidence = voxel_clusters(generator.clustering, similarity, generator.grid, volume)
    assert torch.equal(labels, (volume > 0.5).long())
    assert float(confidence.min()) > 0.5
    with pytest.raises(ValueError, match="does not fit"):
        voxel_clusters(generator.clustering, similarity, generator.grid, volume[..., :8])


def test_voxel_clusters_of_tokens_of_one_voxel_are_their_assignments() -> None:
    generator = small(token_size=1, num_blocks=0, coarse_clusters=2).eval()
    output = generator(*xrays())
    volume = output["token_intensity"].mT.unflatten(2, (8, 8, 12))
    labels, confidence = voxel_clusters(generator.clustering, output["cluster_similarity"], generator.grid, volume)
    assert torch.allclose(confidence.flatten(), output["cluster_assignments"].amax(-1).flatten(), atol=1e-5)
    assert torch.equal(labels.flatten(), output["cluster_assignments"].argmax(-1).flatten())


def test_a_few_steps_learn_one_patient() -> None:
    generator, views = small(num_blocks=1), xrays(1)
    truth = torch.zeros(1, 1, 8, 8, 12)
    truth[..., 2:6, 2:6, 3:9] = 0.8
    loss, losses = ClusterTrackingLoss(), []
    optimizer = torch.optim.AdamW(generator.parameters(), lr=1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        value = loss(generator(*views), truth)
        value.backward()
        optimizer.step()
        losses.append(float(value))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("options", [{}, {"coarse_clusters": 2, "dropout": 0.1, "token_size": 2}, {"token_size": 1}])
def test_exports_equal_the_network(options: dict[str, Any]) -> None:
    network = BiplanarCTNetwork(small(**options)).eval()
    torch.nn.init.normal_(network.generator.head.weight, std=0.1)
    image = torch.cat(xrays(3), dim=1)
    with torch.no_grad():
        expected = network(image)
        assert expected.shape == (3, 1, 8, 8, 12)
        assert 0 <= float(expected.min()) < float(expected.max()) <= 1
        assert torch.allclose(torch.jit.script(network)(image), expected, atol=1e-5)
        program = torch.export.export(network, (image,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=8)},))
        assert torch.allclose(program.module()(image[:2]), expected[:2], atol=1e-5)


def test_weights_of_the_network_around_it_fit_the_generator() -> None:
    network, other = BiplanarCTNetwork(small()), small()
    torch.nn.init.ones_(network.generator.head.weight)
    for weights in (network.state_dict(), network.generator.state_dict()):
        torch.nn.init.zeros_(other.head.weight)
        other.load_state_dict(weights)
        assert torch.equal(other.head.weight, network.generator.head.weight)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict({**network.state_dict(), "unknown": torch.zeros(1)})


def test_the_scripted_generator_takes_a_truth() -> None:
    generator, truth = small().eval(), torch.rand(2, 1, 8, 8, 12)
    scripted, eager = torch.jit.script(generator)(*xrays(), truth), generator(*xrays(), truth)
    assert set(scripted) == set(eager)
    assert torch.allclose(scripted["position_accuracy"], eager["position_accuracy"], atol=1e-5)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of token_size"):
        small(volume_size=(8, 8, 10))
    with pytest.raises(ValueError, match="power of two"):
        small(volume_size=(9, 9, 9), token_size=3)
    with pytest.raises(ValueError, match="multiples of 2"):
        small()(torch.rand(1, 1, 15, 16), torch.rand(1, 1, 15, 16))
