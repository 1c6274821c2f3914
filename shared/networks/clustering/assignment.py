"""Soft assignment of voxels to clusters of like features, position and intensity."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARPEST = 0.03  # lower bound of the temperature
START = 0.1  # temperature at the start
# weights at the start, relative to a cosine similarity of features; for REFERENCE clusters
POSITION_WEIGHT, INTENSITY_WEIGHT, REFERENCE = 0.25, 16.0, 64
FREEDOM = 4.0  # both can become this many times larger or smaller


class VoxelClusteringModule(nn.Module):
    """Probability of each of K clusters for every voxel (or token of voxels).

    A cluster has three centroids, all learned: c_f of the features, c_p of the position, c_i of the intensity. With
    T the temperature, learned between 0.03 and 1, and a and b learned within bounds,

        logit_k = (cos(E f, c_f,k) - a |p - c_p,k|² - b (i - c_i,k)²) / T.

    The softmax must not saturate: where one cluster takes a voxel with certainty, no gradient is left by which the
    voxel could ever change. So T and the weights are bounded, and few clusters, which lie far apart, start with
    smaller weights, in inverse proportion to the square of their distance from each other.

    Position and intensity have centroids in their own units, rather than inside one embedding, so that a cluster can
    be placed from anatomy (`set_centroids`), read as a place and a density, and applied at any resolution
    (`voxel_clusters`). The low temperature is what makes clusters: a cosine at T = 1 assigns everything to everything.

    Args:
        voxel_dim: width of the features.
        num_clusters: K.
        use_position: False leaves the position out (for comparison).
        temperature: T at the start, above 0.03 and below 1. Lower is surer.
        learn_temperature: False keeps T as it is.

    Raises:
        ValueError: for fewer than two clusters, or another temperature.

    Input: features (B, N, voxel_dim), positions (N, 3) or (B, N, 3) in [-1, 1], intensity (B, N, 1), 0 to 1 over the
    range of the CT. Output (B, N, K), rows that sum to 1.
    """

    def __init__(
        self,
        voxel_dim: int = 256,
        num_clusters: int = 64,
        use_position: bool = True,
        temperature: float = START,
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        if not SHARPEST < temperature < 1:
            raise ValueError(f"temperature {temperature} has to lie between {SHARPEST} and 1")
        if num_clusters < 2:
            raise ValueError(f"at least two clusters are needed, got {num_clusters}")
        self.num_clusters = num_clusters
        self.use_position = use_position
        self.log_sharpest = math.log(SHARPEST)  # scripted code reads no module constants
        self.log_freedom = math.log(FREEDOM)
        crowding = (num_clusters / REFERENCE) ** (2 / 3)
        self.log_position_start = math.log(POSITION_WEIGHT * crowding)
        self.log_intensity_start = math.log(INTENSITY_WEIGHT * crowding)
        self.embed = nn.Linear(voxel_dim, voxel_dim)
        self.feature_centroids = nn.Parameter(torch.randn(num_clusters, voxel_dim))
        # evenly over places and intensities from the start, so that no cluster begins empty
        start = torch.quasirandom.SobolEngine(4).draw(num_clusters + 1)[1:]
        self.position_centroids = nn.Parameter(1.8 * start[:, :3] - 0.9, requires_grad=use_position)
        self.intensity_centroids = nn.Parameter(start[:, 3].clone())
        self.position_emphasis = nn.Parameter(torch.zeros(()), requires_grad=use_position)
        self.intensity_emphasis = nn.Parameter(torch.zeros(()))
        share = math.log(temperature) / math.log(SHARPEST)
        sharpness = torch.tensor(math.log(share / (1 - share)))
        self.sharpness = nn.Parameter(sharpness, requires_grad=learn_temperature)

    def position_weight(self) -> Tensor:
        """Weight a of the squared distance from the centroid, a scalar."""
        return torch.exp(self.log_position_start + self.log_freedom * torch.tanh(self.position_emphasis))

    def intensity_weight(self) -> Tensor:
        """Weight b of the squared difference from the centroid's intensity, a scalar."""
        return torch.exp(self.log_intensity_start + self.log_freedom * torch.tanh(self.intensity_emphasis))

    def temperature(self) -> Tensor:
        """Temperature T, a scalar in (0.03, 1) whose gradient never vanishes inside."""
        return torch.exp(self.log_sharpest * torch.sigmoid(self.sharpness))

    def similarity(self, features: Tensor) -> Tensor:
        """Cosines (B, N, K) between features (B, N, voxel_dim) and the centroids."""
        return F.normalize(self.embed(features), dim=-1) @ F.normalize(self.feature_centroids, dim=-1).t()

    def logits(self, similarity: Tensor, positions: Tensor, intensity: Tensor) -> Tensor:
        """Logits (B, N, K), up to a term common to all clusters."""
        # -|p - c|² without |p|², which the softmax ignores: one small product instead of (N, K, 3) differences
        centroid = self.intensity_centroids
        score = similarity + self.intensity_weight() * (2 * intensity * centroid - centroid * centroid)
        if self.use_position:
            place = 2 * positions @ self.position_centroids.t() - self.position_centroids.square().sum(-1)
            score = score + self.position_weight() * place
        return score / self.temperature()

    def assign(self, similarity: Tensor, positions: Tensor, intensity: Tensor) -> Tensor:
        """Assignments (B, N, K) where the similarity of the features is known."""
        return self.logits(similarity, positions, intensity).softmax(dim=-1)

    def forward(self, features: Tensor, positions: Tensor, intensity: Tensor) -> Tensor:
        return self.assign(self.similarity(features), positions, intensity)

    @torch.jit.unused
    def set_centroids(self, positions: Tensor, intensities: Tensor) -> None:
        """Place the clusters: positions (K, 3) in [-1, 1], intensities (K,) in 0 to 1.

        Raises:
            ValueError: for another number of clusters.
        """
        if positions.shape != self.position_centroids.shape or intensities.shape != self.intensity_centroids.shape:
            raise ValueError(
                f"{self.num_clusters} clusters need positions (K, 3) and intensities (K,), "
                f"got {tuple(positions.shape)} and {tuple(intensities.shape)}"
            )
        with torch.no_grad():
            self.position_centroids.copy_(positions)
            self.intensity_centroids.copy_(intensities)
