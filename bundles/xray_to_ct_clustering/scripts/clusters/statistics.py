"""What each cluster holds: size, mean intensity, variance, error and uncertainty; how far clusters are apart."""

from __future__ import annotations

import torch
from torch import Tensor


def cluster_means(values: Tensor, assignments: Tensor) -> Tensor:
    """Mean (B, K) of values (B, N) over the members of each cluster (B, N, K), by probability; NaN where it is empty.

    Of an uncertainty (B, N) it is the uncertainty of each cluster.
    """
    return torch.einsum("bn,bnk->bk", values, assignments) / assignments.sum(dim=1)


def cluster_statistics(assignments: Tensor, intensity: Tensor, error: Tensor | None = None) -> dict[str, Tensor]:
    """Statistics (B, K) of the clusters; NaN where a cluster is empty.

    Args:
        assignments: (B, N, K), probabilities or 0 and 1.
        intensity: (B, N), in any unit (HU for a table that is read by people).
        error: absolute errors (B, N), same unit.

    Returns:
        ``size`` (members, a sum of probabilities), ``mean``, ``variance``, and ``error`` where errors are given.
    """
    mean = cluster_means(intensity, assignments)
    deviation = (intensity[..., None] - mean.nan_to_num()[:, None]).square()
    size = assignments.sum(dim=1)
    table = {"size": size, "mean": mean, "variance": (assignments * deviation).sum(dim=1) / size}
    if error is not None:
        table["error"] = cluster_means(error, assignments)
    return table


def cluster_separation(assignments: Tensor, intensity: Tensor) -> Tensor:
    """Share (B,) of the variance of the intensity that lies between clusters, 0 (none) to 1 (clusters explain it).

    Args:
        assignments: (B, N, K).
        intensity: (B, N), any unit.

    This is η², the between-class variance of Otsu over the total variance; 0 for a constant intensity.
    """
    mean = cluster_means(intensity, assignments).nan_to_num()
    overall = intensity.mean(dim=1, keepdim=True)
    between = (assignments.sum(dim=1) * (mean - overall).square()).sum(dim=1) / intensity.shape[1]
    total = (intensity - overall).square().mean(dim=1)
    return torch.where(total > 0, between / torch.where(total > 0, total, torch.ones_like(total)), 0.0)


def nearest_distance(centres: Tensor) -> float:
    """Mean distance from each of K centres (K, D) to the nearest other one, in their unit; NaN for fewer than two."""
    if len(centres) < 2:
        return float("nan")
    distance = torch.cdist(centres.double(), centres.double())
    return float(distance.fill_diagonal_(torch.inf).min(dim=1).values.mean())
