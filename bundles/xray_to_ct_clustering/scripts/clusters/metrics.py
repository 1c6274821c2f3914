"""Do the clusters mean something? Their tissues, how sure and how separate they are, and a table of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..hounsfield import TISSUES
from .statistics import cluster_means, cluster_separation, cluster_statistics, nearest_distance

DOMINANT = 0.8  # share from which on a tissue dominates a cluster
NAMED = tuple(name for name, number in TISSUES.items() if number)


def contingency(labels: Tensor, tissues: Tensor) -> Tensor:
    """Voxels (K, T) of each cluster and tissue, int64; K is one more than the greatest label.

    Args:
        labels: cluster of each voxel, whole numbers of any shape from 0 on.
        tissues: numbers of `TISSUES`, of the same shape.
    """
    count, clusters = len(TISSUES), int(labels.max()) + 1
    pairs = labels.long().flatten() * count + tissues.long().flatten()
    return torch.bincount(pairs, minlength=clusters * count).reshape(clusters, count)


def tissue_purity(table: Tensor, dominant: float = DOMINANT) -> dict[str, float]:
    """Share of the voxels of lung, soft tissue and bone that lie in clusters which that tissue dominates.

    Args:
        table: of `contingency` (K, T). All voxels of a cluster count, those of no named tissue too.
        dominant: share of the cluster's voxels.

    Returns:
        Name to share; NaN where there is no such tissue.
    """
    size = table.sum(dim=1).clamp(min=1)
    result = {}
    for name in NAMED:
        voxels = table[:, TISSUES[name]]
        inside = voxels[voxels / size >= dominant].sum()
        result[name] = float(inside / voxels.sum()) if int(voxels.sum()) else float("nan")
    return result


def cluster_figures(
    labels: Tensor, confidence: Tensor, entropy: Tensor, hu: Tensor, places: Tensor, tissues: Mapping[str, Tensor]
) -> dict[str, float]:
    """Figures of the clusters of one case, of N voxels.

    Args:
        labels: (N,), whole numbers.
        confidence: (N,).
        entropy: (N,), of the token of each voxel, over log K.
        hu: (N,), predicted.
        places: (N, 3), in mm.
        tissues: (N,) each, of the "true" CT and of the "predicted" one.

    Returns:
        ``assignment_entropy`` (0 to 1), ``cluster_confidence``, ``clusters_used``, ``cluster_separation`` (share of the
        variance of the predicted intensity between clusters), ``cluster_distance_mm`` and ``cluster_distance_hu``
        (from the centre, or the mean intensity, of a cluster to the nearest other one, the mean over clusters),
        ``<tissue>_purity_true`` and ``<tissue>_purity_predicted``.
    """
    members = torch.nn.functional.one_hot(labels.unique(return_inverse=True)[1]).double()[None]
    centres = torch.stack([cluster_means(axis[None].double(), members)[0] for axis in places.unbind(-1)], dim=1)
    figures = {
        "assignment_entropy": float(entropy.mean()),
        "cluster_confidence": float(confidence.mean()),
        "clusters_used": members.shape[-1],
        "cluster_separation": float(cluster_separation(members, hu[None].double())),
        "cluster_distance_mm": nearest_distance(centres),
        "cluster_distance_hu": nearest_distance(cluster_means(hu[None].double(), members)[0][:, None]),
    }
    for kind, found in tissues.items():
        for name, share in tissue_purity(contingency(labels, found)).items():
            figures[f"{name}_purity_{kind}"] = share
    return figures


def cluster_rows(labels: Tensor, hu: Tensor, true_hu: Tensor, tissues: Tensor) -> list[dict[str, Any]]:
    """A row per cluster that has voxels: size, mean HU, variance, mean error, most frequent tissue and its share.

    Args:
        labels: (N,), whole numbers, the cluster of each voxel.
        hu: (N,), predicted.
        true_hu: (N,), of the CT.
        tissues: (N,), of the CT.
    """
    members = torch.nn.functional.one_hot(labels).double()[None]
    error = (hu - true_hu).abs()[None].double()
    table = {name: value[0] for name, value in cluster_statistics(members, hu[None].double(), error).items()}
    counts, names = contingency(labels, tissues), list(TISSUES)
    rows = []
    for number in torch.nonzero(table["size"] > 0)[:, 0].tolist():
        share = counts[number] / counts[number].sum()
        rows.append(
            {
                "cluster": number,
                "voxels": int(table["size"][number]),
                "mean_hu": round(float(table["mean"][number]), 1),
                "variance_hu2": round(float(table["variance"][number]), 1),
                "mae_hu": round(float(table["error"][number]), 1),
                "tissue": names[int(share.argmax())],
                "tissue_share": round(float(share.max()), 3),
            }
        )
    return rows


def merged_rows(cases: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of clusters over all cases: sizes add up, means, variances (within cases) and errors go by size."""
    merged: dict[int, dict[str, Any]] = {}
    for row in (row for rows in cases for row in rows):
        entry = merged.setdefault(int(row["cluster"]), {"voxels": 0, "sums": np.zeros(3), "tissues": {}})
        entry["voxels"] += row["voxels"]
        entry["sums"] += row["voxels"] * np.array([row["mean_hu"], row["variance_hu2"], row["mae_hu"]])
        entry["tissues"][row["tissue"]] = entry["tissues"].get(row["tissue"], 0) + row["voxels"]
    rows = []
    for number, entry in sorted(merged.items()):
        mean, variance, error = np.round(entry["sums"] / entry["voxels"], 1).tolist()
        tissue = max(entry["tissues"], key=entry["tissues"].get)
        rows.append(
            {"cluster": number, "voxels": entry["voxels"], "mean_hu": mean, "variance_hu2": variance, "mae_hu": error}
            | {"tissue": tissue}
        )
    return rows
