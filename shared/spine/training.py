"""What the trainings of the three stages share: batches, points of a validation, its pictures."""

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

from ..evaluation.point_metrics import point_errors
from ..geometry.heatmaps import decode_heatmaps
from .dataset import CHANNELS
from .labels import SPINE_NAMES
from .stage1 import spine_region

Array = np.ndarray
LOWEST, HIGHEST = -0.25, 0.6  # normalised intensities of a picture, about a bone window


def prepare_batch(
    batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """``image`` (B, C, X, Y, Z) and ``label`` of a batch; the images with channels last, which convolutions like."""
    image = torch.as_tensor(batchdata["image"]).as_subclass(Tensor)
    image = image.to(device, memory_format=torch.channels_last_3d, non_blocking=non_blocking, **kwargs)
    return image, torch.as_tensor(batchdata["label"]).as_subclass(Tensor).to(device, non_blocking=non_blocking)


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
        truth = torch.as_tensor(output[self.label_key]).as_subclass(Tensor).cpu().double()
        for key in self.key_iterator(output):
            heatmaps = torch.as_tensor(output[key]).as_subclass(Tensor).cpu().float()
            points, _ = decode_heatmaps(heatmaps[None], self.stride)
            last = torch.tensor(heatmaps.shape[1:], dtype=torch.float64) * self.stride - 1
            inside = ((truth >= 0) & (truth <= last)).all(dim=-1)  # false for NaN
            output["points"] = points[0].double().masked_fill(~inside[:, None], torch.nan)
            output["reference"] = truth.masked_fill(~inside[:, None], torch.nan)
            output["mm_per_voxel"] = self.spacing_mm
        return output


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
        values = torch.as_tensor(heatmap).as_subclass(Tensor).cpu().float()
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


def higher_is_better(current: float, best: float) -> bool:
    """``metric_cmp_fn`` of an evaluator whose key metric is a score; NaN is worse than any number."""
    return not np.isnan(current) and (np.isnan(best) or current > best)


def missing_dice(item: Mapping[str, Any]) -> float:
    """One minus the Dice of a crop's mask, NaN without a mask."""
    pred, truth = (torch.as_tensor(item[key]).as_subclass(Tensor).cpu() > 0.5 for key in ("pred", "label"))
    if not truth.any():
        return float("nan")
    return 1 - 2 * float((pred & truth).sum()) / float(pred.sum() + truth.sum())


def landmark_error(item: Mapping[str, Any]) -> float:
    """Largest error of a crop's points in mm, NaN without any."""
    errors = point_errors(item["points"], item["reference"], item["mm_per_voxel"])
    errors = errors[errors.isfinite()]
    return float(errors.max()) if len(errors) else float("nan")


def draw_slice(axes: Axes, image: Array, x: float) -> None:
    """Sagittal slice of a normalised crop (X, Y, Z) at index ``x``, front on the right, head up."""
    index = int(np.clip(round(x), 0, image.shape[0] - 1))
    axes.imshow(image[index].T, origin="lower", cmap="gray", vmin=LOWEST, vmax=HIGHEST)


def draw_landmarks(axes: Axes, item: Mapping[str, Any]) -> None:
    """Sagittal slice of a crop with true (green) and found (red) centres, joined where they belong together."""
    image = torch.as_tensor(item["image"]).as_subclass(Tensor).cpu().float().numpy()[0]
    found, truth = (torch.as_tensor(item[key]).cpu().numpy() for key in ("points", "reference"))
    draw_slice(axes, image, float(np.nanmean(truth[:, 0])))
    for row, label in enumerate(CHANNELS):
        if np.isnan(truth[row]).any():
            continue
        axes.plot([truth[row, 1], found[row, 1]], [truth[row, 2], found[row, 2]], color="red", linewidth=0.8)
        axes.plot(truth[row, 1], truth[row, 2], ".", color="lime", markersize=4)
        axes.text(truth[row, 1] + 2, truth[row, 2], SPINE_NAMES[label], color="lime", fontsize=5)


def draw_heatmap(axes: Axes, item: Mapping[str, Any]) -> None:
    """Brightest values of a coarse CT seen from the side, with true (green) and found (red) heatmaps at half height."""
    image = torch.as_tensor(item["image"]).as_subclass(Tensor).cpu().float().numpy()[0]
    axes.imshow(image.max(axis=0).T, origin="lower", cmap="gray", vmin=LOWEST, vmax=HIGHEST)
    for key, color in (("label", "lime"), ("pred", "red")):
        heatmap = torch.as_tensor(item[key]).as_subclass(Tensor).cpu().float().numpy()[0].max(axis=0)
        if heatmap.max() > 0:
            axes.contour(heatmap.T, levels=[0.5 * heatmap.max()], colors=color, linewidths=0.8)


def draw_mask(axes: Axes, item: Mapping[str, Any]) -> None:
    """Sagittal slice of a vertebra's crop with the borders of the true (green) and found (red) mask."""
    image = torch.as_tensor(item["image"]).as_subclass(Tensor).cpu().float().numpy()[0]
    middle = image.shape[0] // 2
    draw_slice(axes, image, middle)
    for key, color in (("label", "lime"), ("pred", "red")):
        mask = torch.as_tensor(item[key]).as_subclass(Tensor).cpu().float().numpy()[0, middle]
        if mask.max() > 0.5:
            axes.contour(mask.T, levels=[0.5], colors=color, linewidths=0.8)
