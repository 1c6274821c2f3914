"""Centroids of clusters from known anatomy: where the labelled structures lie and how dense they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from ..shared.networks.clustering.position import grid_positions

INTENSITY_SCALE = 4.0  # a quarter of the CT's range counts as much as half of the volume's edge
MAX_SAMPLES = 20_000  # of one structure


def share_clusters(sizes: Sequence[int], num_clusters: int) -> list[int]:
    """Clusters for each of several structures of ``sizes`` voxels: at least one, more for larger ones.

    They go by the cube root of the volume, the extent, so that lungs and background do not take all.

    Raises:
        ValueError: for more structures than clusters.
    """
    if len(sizes) > num_clusters:
        raise ValueError(f"{len(sizes)} structures need as many clusters, there are {num_clusters}")
    extent = np.cbrt(np.asarray(sizes, dtype=float))
    counts = np.ones(len(sizes), dtype=int)
    for _ in range(num_clusters - len(sizes)):
        counts[np.argmax(extent / counts)] += 1
    return counts.tolist()


def anatomical_centroids(
    labels: Sequence[Tensor], volumes: Sequence[Tensor], num_clusters: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Positions (K, 3) in [-1, 1] and intensities (K,) of clusters for `VoxelClusteringModule.set_centroids`.

    Every structure (label, background 0 included) gets clusters of its own, the k-means centres of position and
    intensity over its voxels in all patients. They come in the order of the labels.

    Args:
        labels: label maps (X, Y, Z) of whole numbers.
        volumes: intensities (X, Y, Z) in 0 to 1 of the same patients, on the same grids.
        num_clusters: K.
        seed: of sampling and k-means.

    Raises:
        ValueError: for more structures than clusters.
    """
    rng = np.random.default_rng(seed)
    rows = [torch.cat([grid_positions(v.shape), v.reshape(-1, 1).cpu().float()], dim=1) for v in volumes]
    features = torch.cat(rows).numpy() * np.array([1.0, 1.0, 1.0, INTENSITY_SCALE], dtype=np.float32)
    names = torch.cat([label.reshape(-1).cpu() for label in labels]).numpy()
    structures, sizes = np.unique(names, return_counts=True)
    centres = []
    for structure, count in zip(structures, share_clusters(sizes.tolist(), num_clusters), strict=True):
        members = features[names == structure]
        if len(members) > MAX_SAMPLES:
            members = members[rng.choice(len(members), MAX_SAMPLES, replace=False)]
        # a structure of fewer voxels than clusters fills up with copies, moved a little so that they part
        while len(members) < count:
            members = np.concatenate([members, members + rng.normal(0, 1e-3, members.shape).astype(members.dtype)])
        centres.append(kmeans2(members, count, minit="++", missing="warn", rng=rng)[0])
    centroids = torch.from_numpy(np.concatenate(centres)).float()
    return centroids[:, :3], centroids[:, 3] / INTENSITY_SCALE
