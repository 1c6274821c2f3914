"""Clusters in two levels: coarse ones (tissues, regions), each divided into fine ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .assignment import START, VoxelClusteringModule


class HierarchicalClusteringModule(nn.Module):
    """Fine clusters inside coarse ones: p(k) = p(coarse(k)) p(k | coarse(k)).

    Fine cluster k belongs to coarse cluster ``k // (num_clusters / coarse_clusters)``. Used like
    `VoxelClusteringModule`, whose interface it shares; the sum over the children is the coarse assignment exactly.

    Args:
        voxel_dim: width of the features.
        num_clusters: fine clusters, a multiple of ``coarse_clusters``.
        use_position: False leaves the position out.
        coarse_clusters: number of coarse clusters.
        temperature: at the start, see `VoxelClusteringModule`.
        learn_temperature: False keeps it.
    """

    def __init__(
        self,
        voxel_dim: int = 256,
        num_clusters: int = 64,
        use_position: bool = True,
        coarse_clusters: int = 8,
        temperature: float = START,
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        if coarse_clusters < 2 or num_clusters % coarse_clusters or num_clusters == coarse_clusters:
            raise ValueError(f"{num_clusters} clusters cannot be divided among {coarse_clusters} coarse ones")
        self.num_clusters = num_clusters
        self.coarse_clusters = coarse_clusters
        self.coarse = VoxelClusteringModule(voxel_dim, coarse_clusters, use_position, temperature, learn_temperature)
        self.fine = VoxelClusteringModule(voxel_dim, num_clusters, use_position, temperature, learn_temperature)

    def similarity(self, features: Tensor) -> Tensor:
        """Cosines (B, N, coarse_clusters + K)."""
        return torch.cat([self.coarse.similarity(features), self.fine.similarity(features)], dim=-1)

    def assign(self, similarity: Tensor, positions: Tensor, intensity: Tensor) -> Tensor:
        """Fine assignments (B, N, K) where the similarity of the features is known."""
        coarse = self.coarse.assign(similarity[..., : self.coarse_clusters], positions, intensity)
        logits = self.fine.logits(similarity[..., self.coarse_clusters :], positions, intensity)
        within = logits.unflatten(-1, [self.coarse_clusters, -1]).softmax(dim=-1)
        return (coarse.unsqueeze(-1) * within).flatten(-2)

    def forward(self, features: Tensor, positions: Tensor, intensity: Tensor) -> Tensor:
        return self.assign(self.similarity(features), positions, intensity)

    @torch.jit.unused
    def coarse_assignments(self, assignments: Tensor) -> Tensor:
        """Coarse assignments (B, N, coarse_clusters) of fine ones (B, N, K)."""
        return assignments.unflatten(-1, (self.coarse_clusters, -1)).sum(dim=-1)

    @torch.jit.unused
    def set_centroids(self, positions: Tensor, intensities: Tensor) -> None:
        """Place the fine clusters, ordered by coarse cluster, and each coarse one at the mean of its children."""
        self.fine.set_centroids(positions, intensities)
        families = (self.coarse_clusters, -1)
        self.coarse.set_centroids(positions.unflatten(0, families).mean(1), intensities.unflatten(0, families).mean(1))
