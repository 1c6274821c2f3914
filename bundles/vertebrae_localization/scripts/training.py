"""Points and pictures of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from monai.config import KeysCollection
from monai.transforms import MapTransform

from .shared.geometry.frames import plain_tensor
from .shared.geometry.heatmaps import decode_heatmaps
from .shared.spine.dataset import CHANNELS
from .shared.spine.labels import SPINE_NAMES
from .shared.spine.training import draw_slice


class HeatmapPointsd(MapTransform):
    """Highest peak of each heatmap of a crop, next to the true points that lie in it.

    Adds ``points`` and ``reference`` (K, 3) in indices of the crop, NaN where the crop shows no such vertebra, and
    ``mm_per_voxel``.

    Args:
        keys: heatmaps (K, *spatial).
        spacing_mm: of the crop.
        stride: voxels of the crop per voxel of the heatmaps.
        label_key: true points (K, 3) in indices of the crop.
    """

    def __init__(
        self, keys: KeysCollection = "pred", spacing_mm: float = 2.0, stride: int = 2, label_key: str = "label"
    ) -> None:
        super().__init__(keys)
        self.spacing_mm, self.stride, self.label_key = spacing_mm, stride, label_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        output = dict(data)
        truth = plain_tensor(output[self.label_key]).cpu().double()
        for key in self.key_iterator(output):
            heatmaps = plain_tensor(output[key]).cpu().float()
            points, _ = decode_heatmaps(heatmaps[None], self.stride)
            last = torch.tensor(heatmaps.shape[1:], dtype=torch.float64) * self.stride - 1
            inside = ((truth >= 0) & (truth <= last)).all(dim=-1)  # false for NaN
            output["points"] = points[0].double().masked_fill(~inside[:, None], torch.nan)
            output["reference"] = truth.masked_fill(~inside[:, None], torch.nan)
            output["mm_per_voxel"] = self.spacing_mm
        return output


def draw_landmarks(axes: Axes, item: Mapping[str, Any]) -> None:
    """Sagittal slice of a crop with true (green) and found (red) centres, joined where they belong together."""
    image = plain_tensor(item["image"]).cpu().float().numpy()[0]
    found, truth = (torch.as_tensor(item[key]).cpu().numpy() for key in ("points", "reference"))
    draw_slice(axes, image, float(np.nanmean(truth[:, 0])))
    for row, label in enumerate(CHANNELS):
        if np.isnan(truth[row]).any():
            continue
        axes.plot([truth[row, 1], found[row, 1]], [truth[row, 2], found[row, 2]], color="red", linewidth=0.8)
        axes.plot(truth[row, 1], truth[row, 2], ".", color="lime", markersize=4)
        axes.text(truth[row, 1] + 2, truth[row, 2], SPINE_NAMES[label], color="lime", fontsize=5)
