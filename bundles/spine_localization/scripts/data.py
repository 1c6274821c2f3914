"""Training crops: the whole body at a coarse spacing, and one heatmap of all vertebrae."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .shared.geometry.heatmaps import gaussian_heatmaps
from .shared.spine.dataset import CHANNELS
from .shared.spine.labels import SPINE_LABELS
from .shared.spine.training_crops import SpineSample, bounds_mm, seen_rows


class SpineCrop(SpineSample):
    """First stage: the whole body at a coarse spacing, and one heatmap of all vertebrae.

    The target is the sum of a Gaussian at each body centre, scaled to a maximum of 1.

    Args:
        size, spacing_mm, ranges, cut_prob: as :class:`SpineSample`.
        sigma: of the Gaussians in voxels.

    Returns (of the call): ``image`` (1, X, Y, Z), ``label`` (1, X, Y, Z), ``case``.
    """

    def __init__(self, size: Sequence[int], spacing_mm: float = 8.0, sigma: float = 3.0, **kwargs: Any) -> None:
        super().__init__(size, spacing_mm, **kwargs)
        self.sigma = sigma

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        low, high = bounds_mm(data["image"])
        centre = (low + high) / 2
        free = max(0.0, high[2] - low[2] - self.size[2] * self.spacing_mm)  # what a crop of a long scan leaves out
        centre[2] += (self.part(data) - 0.5) * free
        crop = self.crop(centre)
        image, _ = self.look(data, crop)
        rows, _ = seen_rows(data)
        middle = (np.array(self.size) - 1) / 2
        kept = self.cut(image, middle)
        points = self.points(crop, torch.as_tensor(data["centres"]).double(), kept)
        bodies = [row for row in rows if CHANNELS[row] != SPINE_LABELS["sacrum"]]
        target = torch.zeros(1, *self.size)
        if bodies:
            target = gaussian_heatmaps(points[bodies].float()[None], self.size, self.sigma)[0].sum(dim=0, keepdim=True)
            target = target / target.max().clamp(min=1.0)
        return {"image": image, "label": target, "case": data["case"]}
