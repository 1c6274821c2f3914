"""What is wanted of clusters: alike inside, sharp, and all in use."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def token_means(volume: Tensor, tokens: int) -> Tensor:
    """Mean intensity (B, N, 1) over the voxels of each of N cubic tokens of a volume (B, 1, X, Y, Z).

    Raises:
        ValueError: where N tokens do not divide the volume into cubes.
    """
    edge = round((volume[0, 0].numel() / tokens) ** (1 / 3))
    if edge < 1 or any(length % edge for length in volume.shape[2:]) or volume[0, 0].numel() != tokens * edge**3:
        raise ValueError(f"{tokens} tokens do not divide a volume of {tuple(volume.shape[2:])} into cubes")
    return F.avg_pool3d(volume, edge).flatten(2).mT


def rounded_square(distance: Tensor) -> Tensor:
    """Squares of distances, any shape, that go on as a line beyond 1, so that no prediction overflows."""
    return 2 * F.huber_loss(distance, torch.zeros_like(distance), reduction="none", delta=1.0)


def cluster_consistency(intensity: Tensor, assignments: Tensor) -> Tensor:
    """Mean variance of the intensity inside the clusters, a scalar.

    The sum over clusters of Σ_i w_ik (v_i - μ_k)² over the sum of all weights: clusters count by their size, so that
    the value can be compared between numbers of clusters and empty clusters need no care. Beyond a distance of 1, the
    whole range of the CT, the square goes on as a line, so that no prediction overflows.

    Args:
        intensity: (B, N, 1), 0 to 1 over the range of the CT.
        assignments: (B, N, K).
    """
    size = assignments.sum(dim=1, keepdim=True)
    share = assignments / size.clamp(min=torch.finfo(size.dtype).tiny)
    mean = (share * intensity).sum(dim=1, keepdim=True)
    distance = intensity - mean
    return (assignments * rounded_square(distance)).sum(dim=-1).mean()


def assignment_entropy(assignments: Tensor) -> Tensor:
    """Entropy (B, N) of assignments (B, N, K) over log K: 0 for a sure assignment, 1 for none at all."""
    tiny = torch.finfo(assignments.dtype).tiny
    return -(assignments * assignments.clamp(min=tiny).log()).sum(dim=-1) / math.log(assignments.shape[-1])


def diversity_loss(assignments: Tensor) -> Tensor:
    """How unevenly assignments (B, N, K) use the clusters, a scalar: 0 for evenly, 1 where one cluster takes all."""
    return 1 - assignment_entropy(assignments.mean(dim=(0, 1), keepdim=True)).mean()


def tissue_impurity(assignments: Tensor, tissues: Tensor, classes: int) -> Tensor:
    """How mixed the clusters are, a scalar: the chance that two voxels of one cluster are of different tissues.

    The Gini impurity of each cluster, weighted by its size. Every tissue counts by the square root of its voxels, so
    that a rare one, bone, has a say.

    Args:
        assignments: (B, N, K).
        tissues: whole numbers (B, N), 0 to ``classes`` - 1.
        classes: number of tissues.
    """
    member = F.one_hot(tissues.long(), classes).to(assignments.dtype)
    member = member / member.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
    mass = assignments.mT @ member  # (B, K, classes)
    size = mass.sum(dim=-1)
    # size (1 - sum of squared shares), without dividing by the size of an empty cluster
    mixed = size - mass.square().sum(dim=-1) / size.clamp(min=torch.finfo(size.dtype).tiny)
    return (mixed.sum(dim=-1) / size.sum(dim=-1)).mean()
