"""The inferer of this bundle: from two X-rays to volume, uncertainty and clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from .clusters.losses import assignment_entropy
from .clusters.voxels import voxel_clusters
from .hounsfield import HU_RANGE, intensity_to_hu
from .shared.engines.settings import flag
from .shared.geometry.frames import plain_tensor

CHANNELS = ("hu", "uncertainty_hu", "cluster", "confidence", "entropy", "coarse_cluster")


class BiplanarInferer(Inferer):
    """Runs the generator and assigns every voxel to a cluster.

    Args:
        amp: bfloat16 where the operations allow it.
        hu_range: of the intensities 0 to 1.

    Input: (B, 2, rows, columns), frontal and lateral; metadata ``projections`` (B, 2, 3, 4) where the views are not
    those of the training. Output (B, 6, X, Y, Z) float32: Hounsfield units, their expected absolute error, the cluster
    (1 to K), its probability, entropy of the assignment of the voxel's token over log K, the coarse cluster that the
    cluster belongs to (0 where clusters have one level). Of a generator without clusters (a baseline) the cluster is 0,
    and error, probability and entropy are NaN.
    """

    def __init__(self, amp: bool = False, hu_range: Sequence[float] = HU_RANGE) -> None:
        super().__init__()
        self.amp, self.hu_range = flag("amp", amp), tuple(hu_range)

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        image = plain_tensor(inputs).reshape(-1, *inputs.shape[-3:])
        projections = inputs.meta.get("projections") if isinstance(inputs, MetaTensor) else None
        if projections is not None:
            projections = torch.as_tensor(projections).reshape(-1, 2, 3, 4).to(image)
        generator = network.generator
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=self.amp):
            output = generator(image[:, :1], image[:, 1:], None, projections)
        intensity = output["pred_volume"].float().clamp(0.0, 1.0)
        hu = intensity_to_hu(intensity, self.hu_range)
        unknown, none = torch.full_like(hu, torch.nan), torch.zeros_like(hu)
        if generator.clustering is None:
            return torch.cat([hu, unknown, none, unknown, unknown, none], dim=1)
        uncertainty = output["uncertainty"].float() * (self.hu_range[1] - self.hu_range[0])
        if not getattr(generator, "use_clustering", True):  # a scripted generator does not keep the switch
            return torch.cat([hu, uncertainty, none, unknown, unknown, none], dim=1)
        similarity, grid = output["cluster_similarity"].float(), list(generator.grid)
        label, confidence = voxel_clusters(generator.clustering, similarity, grid, intensity)
        entropy = assignment_entropy(output["cluster_assignments"].float()).unflatten(1, grid)[:, None]
        entropy = F.interpolate(entropy, size=hu.shape[2:], mode="nearest")
        coarse_clusters = int(getattr(generator.clustering, "coarse_clusters", 0))
        family = generator.clustering.num_clusters // max(coarse_clusters, 1)
        coarse = label.to(hu.dtype).div(family, rounding_mode="floor") + 1 if coarse_clusters else none
        return torch.cat([hu, uncertainty, label.to(hu.dtype) + 1, confidence, entropy, coarse], dim=1)
