"""Centroids from labelled anatomy, and what clusters hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundles.xray_to_ct_clustering.scripts.clusters.anatomy import anatomical_centroids, share_clusters
from bundles.xray_to_ct_clustering.scripts.clusters.statistics import (
    cluster_means,
    cluster_separation,
    cluster_statistics,
)
from shared.networks.clustering import VoxelClusteringModule
from shared.networks.clustering.position import grid_positions

SIZE = (8, 8, 8)


def patient() -> tuple[torch.Tensor, torch.Tensor]:
    """A block of bone (2) on the left, one of lung (1) on the right, in soft tissue (0)."""
    labels, volume = torch.zeros(SIZE, dtype=torch.int64), torch.full(SIZE, 0.4)
    labels[:3], labels[6:, 2:6] = 2, 1
    volume[labels == 2], volume[labels == 1] = 0.8, 0.1
    return labels, volume


def test_larger_structures_get_more_clusters_and_small_ones_get_one() -> None:
    assert share_clusters([1, 8, 64], 3) == [1, 1, 1]
    assert share_clusters([1, 8, 64], 7) == [1, 2, 4]  # by extent: 1, 2, 4
    with pytest.raises(ValueError, match="3 structures"):
        share_clusters([1, 1, 1], 2)


def test_centroids_lie_in_their_structures() -> None:
    labels, volume = patient()
    positions, intensities = anatomical_centroids([labels, labels], [volume, volume], 8)
    assert positions.shape == (8, 3) and intensities.shape == (8,)
    runs = torch.unique_consecutive((10 * intensities).round())  # in the order of the labels
    assert runs.tolist() == [4, 1, 8]
    bone, lung = positions[intensities > 0.7], positions[intensities < 0.2]
    assert float(bone[:, 0].max()) < -0.2
    assert float(lung[:, 0].min()) > 0.5
    again = anatomical_centroids([labels, labels], [volume, volume], 8)
    assert torch.equal(again[0], positions)


def test_a_module_placed_by_anatomy_divides_the_patient_by_tissue() -> None:
    """Before any training, every cluster holds voxels of one tissue."""
    labels, volume = patient()
    module = VoxelClusteringModule(4, 8)
    module.set_centroids(*anatomical_centroids([labels], [volume], 8))
    assignments = module.assign(torch.zeros(1, 512, 8), grid_positions(SIZE), volume.reshape(1, -1, 1))
    clusters = assignments.argmax(-1)[0]
    for cluster in clusters.unique():
        assert len(labels.flatten()[clusters == cluster].unique()) == 1


def test_a_structure_smaller_than_its_clusters_is_filled_up() -> None:
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[0, 0, 0] = 1
    positions, intensities = anatomical_centroids([labels], [torch.rand(SIZE)], 4)
    assert bool(torch.isfinite(positions).all() & torch.isfinite(intensities).all())


def test_statistics_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    values, errors, members = rng.normal(100, 50, 60), rng.uniform(0, 9, 60), rng.integers(0, 3, 60)
    assignments = torch.nn.functional.one_hot(torch.from_numpy(members), 4).double()[None]
    table = cluster_statistics(assignments, torch.from_numpy(values)[None], torch.from_numpy(errors)[None])
    for k in range(3):
        mine = members == k
        expected = {"size": mine.sum(), "mean": values[mine].mean(), "variance": values[mine].var()}
        for name, value in (expected | {"error": errors[mine].mean()}).items():
            assert float(table[name][0, k]) == pytest.approx(float(value)), name
    assert float(table["size"][0, 3]) == 0 and bool(table["mean"][0, 3].isnan())
    assert torch.equal(cluster_means(torch.from_numpy(errors)[None], assignments)[0, :3], table["error"][0, :3])


def test_separation_goes_from_nothing_to_all() -> None:
    values = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    sure, mixed = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 0, 1]])
    for members, expected in ((sure, 1.0), (mixed, 0.0)):
        assignments = torch.nn.functional.one_hot(members, 3).float()
        assert float(cluster_separation(assignments, values)) == pytest.approx(expected)
    assert float(cluster_separation(assignments, torch.ones(1, 4))) == 0
