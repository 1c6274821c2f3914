"""Points and pictures of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from .shared.geometry.frames import plain_tensor
from .shared.spine.spine_stage import spine_region
from .shared.spine.training import HIGHEST, LOWEST


class SpineBoxd(MapTransform):
    """Region of the spine in a heatmap of the first stage and in its target.

    Adds ``points`` and ``reference`` (3, 3) in mm: centroid, lowest and highest corner; NaN where there is no spine.

    Args:
        keys: heatmaps (1, X, Y, Z).
        spacing_mm: of their voxels.
        threshold: fraction of the maximum.
        label_key: target (1, X, Y, Z).
    """

    def __init__(
        self, keys: KeysCollection = "pred", spacing_mm: float = 8.0, threshold: float = 0.5, label_key: str = "label"
    ) -> None:
        super().__init__(keys)
        self.spacing_mm, self.threshold, self.label_key = spacing_mm, threshold, label_key

    def region(self, heatmap: Tensor) -> Tensor:
        values = plain_tensor(heatmap).cpu().float()
        region = spine_region(
            MetaTensor(values, affine=torch.diag(torch.tensor([self.spacing_mm] * 3 + [1.0]))), self.threshold
        )
        return torch.as_tensor(np.stack([region.centroid_mm, region.low_mm, region.high_mm]))

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            empty = not bool((torch.as_tensor(output[self.label_key]) > 0).any())
            for name, heatmap in (("points", output[key]), ("reference", output[self.label_key])):
                points = self.region(heatmap)
                output[name] = points.fill_(torch.nan) if empty else points
            output["mm_per_voxel"] = 1.0
        return output


def draw_heatmap(axes: Axes, item: Mapping[str, Any]) -> None:
    """Brightest values of a coarse CT seen from the side, with true (green) and found (red) heatmaps at half height."""
    image = plain_tensor(item["image"]).cpu().float().numpy()[0]
    axes.imshow(image.max(axis=0).T, origin="lower", cmap="gray", vmin=LOWEST, vmax=HIGHEST)
    for key, color in (("label", "lime"), ("pred", "red")):
        heatmap = plain_tensor(item[key]).cpu().float().numpy()[0].max(axis=0)
        if heatmap.max() > 0:
            axes.contour(heatmap.T, levels=[0.5 * heatmap.max()], colors=color, linewidths=0.8)
