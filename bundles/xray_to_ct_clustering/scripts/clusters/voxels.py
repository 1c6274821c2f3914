"""Clusters of single voxels, from the clusters of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..shared.networks.clustering.assignment import VoxelClusteringModule
from ..shared.networks.clustering.hierarchy import HierarchicalClusteringModule
from ..shared.networks.clustering.position import grid_positions


@torch.no_grad()
def voxel_clusters(
    clustering: VoxelClusteringModule | HierarchicalClusteringModule,
    similarity: Tensor,
    grid: Sequence[int],
    volume: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cluster of every voxel and its probability.

    A token of several voxels may hold bone and lung at once. A voxel shares the features of its token, but has a
    position and an intensity of its own, and is assigned by these. One slab of tokens is worked on at a time.

    Args:
        clustering: of the generator.
        similarity: of the tokens (B, N, …), ``cluster_similarity`` of the generator's output.
        grid: tokens along x, y, z, ``generator.grid``.
        volume: intensities (B, 1, X, Y, Z), a whole multiple of the grid.

    Returns:
        Cluster numbers (B, 1, X, Y, Z) int64 and their probability (B, 1, X, Y, Z).

    Raises:
        ValueError: where grid and volume do not fit.
    """
    size = list(volume.shape[2:])
    edge = size[0] // grid[0]
    if edge < 1 or size != [edge * cells for cells in grid] or similarity.shape[1] != grid[0] * grid[1] * grid[2]:
        raise ValueError(f"a grid of {tuple(grid)} tokens does not fit a volume of {tuple(size)}")
    cells = similarity.unflatten(1, list(grid))
    positions = grid_positions(size).to(volume).unflatten(0, size)
    labels, confidences = [], []
    for slab in range(grid[0]):
        of_voxels = cells[:, slab].repeat_interleave(edge, dim=1).repeat_interleave(edge, dim=2).flatten(1, 2)
        for x in range(slab * edge, (slab + 1) * edge):
            intensity = volume[:, 0, x].flatten(1)[..., None]
            probability = clustering.assign(of_voxels, positions[x].flatten(0, 1), intensity)
            confidence, label = probability.max(dim=-1)
            labels.append(label.unflatten(1, size[1:]))
            confidences.append(confidence.unflatten(1, size[1:]))
    return torch.stack(labels, dim=1)[:, None], torch.stack(confidences, dim=1)[:, None]
