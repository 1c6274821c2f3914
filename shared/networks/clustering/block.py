"""Transformer block over voxel tokens."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import BIAS_RANK, ClusterAwareAttention


class ClusterBlock(nn.Module):
    """Pre-normalised cluster-aware attention and a two-layer perceptron, each added to its input.

    Args:
        voxel_dim: width of the tokens.
        num_heads: of the attention.
        num_clusters: K.
        mlp_ratio: hidden width of the perceptron over ``voxel_dim``.
        dropout: of context voxels in the attention and of hidden units in the perceptron.
        bias_rank: of the bias between clusters in the attention, 0: full.

    Input: tokens (B, N, voxel_dim), assignments (B, N, K). Output (B, N, voxel_dim).
    """

    def __init__(
        self,
        voxel_dim: int,
        num_heads: int,
        num_clusters: int,
        mlp_ratio: int,
        dropout: float,
        bias_rank: int = BIAS_RANK,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(voxel_dim)
        self.attention = ClusterAwareAttention(voxel_dim, num_heads, num_clusters, dropout, bias_rank)
        self.mlp = nn.Sequential(
            nn.LayerNorm(voxel_dim),
            nn.Linear(voxel_dim, mlp_ratio * voxel_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_ratio * voxel_dim, voxel_dim),
        )

    def forward(self, tokens: Tensor, assignments: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens), assignments)
        return tokens + self.mlp(tokens)
