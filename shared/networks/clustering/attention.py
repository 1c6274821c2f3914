"""Attention in which voxels of like clusters attend to each other more, without a matrix over all pairs of voxels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BIAS_RANK = 8  # of the bias between clusters, by default
HIDDEN = -1e4  # added to the logits of a key that is left out; finite, so that leaving out all of them is harmless


def cluster_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    bias: Tensor,
    bias_right: Tensor | None = None,
    key_bias: Tensor | None = None,
) -> Tensor:
    """softmax((Q Kᵀ + W B Wᵀ) / sqrt(d)) V, exactly, with memory linear in the number of voxels N.

    The bias is a product over clusters, so it joins the product over features: [Q, W B] [K, W]ᵀ, or, where B = U Rᵀ is
    of rank r, the narrower [Q, W U] [K, W R]ᵀ. Fused attention then never forms the (N, N) matrix. Its time goes with
    the width d + K or d + r.

    Args:
        query: (B, heads, N, d).
        key: (B, heads, N, d).
        value: (B, heads, N, d).
        weights: assignments W (B, N, K).
        bias: cluster bias B (heads, K, K), or its left factor U (heads, K, r).
        bias_right: right factor R (heads, K, r).
        key_bias: (B, heads, N, 1) added to every logit of a key, before the division by sqrt(d).

    Returns:
        (B, heads, N, d).
    """
    width = query.shape[-1]
    clusters = weights.unsqueeze(1).to(query.dtype)
    queries = [query, clusters @ bias.to(query.dtype)]
    keys = [key]
    if bias_right is None:
        keys.append(clusters.expand(-1, query.shape[1], -1, -1))
    else:
        keys.append(clusters @ bias_right.to(query.dtype))
    if key_bias is not None:
        queries.append(torch.ones_like(query[..., :1]))
        keys.append(key_bias.to(query.dtype))
    folded_query, folded_key = torch.cat(queries, dim=-1), torch.cat(keys, dim=-1)
    # a value narrower than the key would leave the fused path on a CPU
    padded = F.pad(value, [0, folded_key.shape[-1] - width])
    attended = F.scaled_dot_product_attention(folded_query, folded_key, padded, scale=float(width) ** -0.5)
    return attended[..., :width]


def dense_cluster_attention(query: Tensor, key: Tensor, value: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """The formula of `cluster_attention` as it is written, with (N, N) matrices: reference for tests and benchmarks."""
    clusters = weights.unsqueeze(1)
    logits = query @ key.mT + clusters @ bias @ clusters.mT
    return (logits / query.shape[-1] ** 0.5).softmax(dim=-1) @ value


def cluster_codes(num_clusters: int, rank: int) -> Tensor:
    """One direction (K, r) of length 1 per cluster, as different as r dimensions allow; random.

    Up to r clusters they are orthogonal. Beyond, every block of r clusters is an orthogonal basis of its own.
    """
    blocks = [torch.linalg.qr(torch.randn(rank, rank))[0] for _ in range(-(-num_clusters // rank))]
    return torch.cat(blocks)[:num_clusters]


class ClusterAwareAttention(nn.Module):
    """Multi-head attention over voxels with a learned bias between clusters.

    Attention = softmax((Q Kᵀ + ClusterBias) / sqrt(d)) V with ClusterBias[i, j] = w_i B w_jᵀ; every head has its own
    B. At the start a voxel has a logit of 1 more for those that surely share its cluster: B = sqrt(d) I, or, of rank r,
    sqrt(d) C Cᵀ with a code C of the clusters, whose products between different clusters are 0 on average.

    Args:
        voxel_dim: width of the tokens, a multiple of ``num_heads``.
        num_heads: heads of width d = voxel_dim / num_heads.
        num_clusters: K.
        dropout: probability, in training, that a head does not see a voxel as context. (Dropping single pairs would
            need the matrix over all pairs.)
        bias_rank: rank r of B; 0: full. Attention takes time in proportion to d + r (d + K of full rank).

    Input: tokens (B, N, voxel_dim) and assignments (B, N, K). Output (B, N, voxel_dim).
    """

    def __init__(
        self,
        voxel_dim: int = 256,
        num_heads: int = 8,
        num_clusters: int = 64,
        dropout: float = 0.0,
        bias_rank: int = BIAS_RANK,
    ) -> None:
        super().__init__()
        if voxel_dim % num_heads:
            raise ValueError(f"voxel_dim {voxel_dim} is no multiple of num_heads {num_heads}")
        if bias_rank < 0:
            raise ValueError(f"the rank of the bias cannot be {bias_rank}: 0 stands for full rank")
        self.num_heads = num_heads
        self.dropout = dropout
        self.hidden = HIDDEN  # scripted code reads no module constants
        self.qkv = nn.Linear(voxel_dim, 3 * voxel_dim)
        self.out = nn.Linear(voxel_dim, voxel_dim)
        strength = (voxel_dim / num_heads) ** 0.5
        if 0 < bias_rank < num_clusters:
            codes = strength**0.5 * torch.stack([cluster_codes(num_clusters, bias_rank) for _ in range(num_heads)])
            self.cluster_bias = nn.Parameter(codes)
            self.cluster_bias_right: Tensor | None = nn.Parameter(codes.clone())
        else:
            self.cluster_bias = nn.Parameter(strength * torch.eye(num_clusters).repeat(num_heads, 1, 1))
            self.cluster_bias_right = None

    @torch.jit.unused
    def bias_matrix(self) -> Tensor:
        """B (heads, K, K)."""
        right = self.cluster_bias_right
        return self.cluster_bias if right is None else self.cluster_bias @ right.mT

    def forward(self, tokens: Tensor, assignments: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(-1, [3, self.num_heads, -1]).permute(2, 0, 3, 1, 4).unbind(0)
        key_bias: Tensor | None = None
        if self.training and self.dropout > 0:
            key_bias = self.hidden * (torch.rand_like(key[..., :1]) < self.dropout).to(key.dtype)
        bias, right = self.cluster_bias, self.cluster_bias_right
        attended = cluster_attention(query, key, value, assignments, bias, right, key_bias)
        return self.out(attended.transpose(1, 2).flatten(2))
