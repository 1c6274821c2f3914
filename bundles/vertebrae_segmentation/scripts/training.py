"""Scores and pictures of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from .shared.spine.training import draw_slice


def higher_is_better(current: float, best: float) -> bool:
    """``metric_cmp_fn`` of an evaluator whose key metric is a score; NaN is worse than any number."""
    return not np.isnan(current) and (np.isnan(best) or current > best)


def missing_dice(item: Mapping[str, Any]) -> float:
    """One minus the Dice of a crop's mask, NaN without a mask."""
    pred, truth = (torch.as_tensor(item[key]).as_subclass(Tensor).cpu() > 0.5 for key in ("pred", "label"))
    if not truth.any():
        return float("nan")
    return 1 - 2 * float((pred & truth).sum()) / float(pred.sum() + truth.sum())


def draw_mask(axes: Axes, item: Mapping[str, Any]) -> None:
    """Sagittal slice of a vertebra's crop with the borders of the true (green) and found (red) mask."""
    image = torch.as_tensor(item["image"]).as_subclass(Tensor).cpu().float().numpy()[0]
    middle = image.shape[0] // 2
    draw_slice(axes, image, middle)
    for key, color in (("label", "lime"), ("pred", "red")):
        mask = torch.as_tensor(item[key]).as_subclass(Tensor).cpu().float().numpy()[0, middle]
        if mask.max() > 0.5:
            axes.contour(mask.T, levels=[0.5], colors=color, linewidths=0.8)
