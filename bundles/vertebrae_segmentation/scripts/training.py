"""Scores and pictures of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from .shared.geometry.frames import plain_tensor
from .shared.spine.training import draw_slice


def missing_dice(item: Mapping[str, Any]) -> float:
    """One minus the Dice of a crop's mask, NaN without a mask."""
    pred, truth = (plain_tensor(item[key]).cpu() > 0.5 for key in ("pred", "label"))
    if not truth.any():
        return float("nan")
    return 1 - 2 * float((pred & truth).sum()) / float(pred.sum() + truth.sum())


def draw_mask(axes: Axes, item: Mapping[str, Any]) -> None:
    """Sagittal slice of a vertebra's crop with the borders of the true (green) and found (red) mask."""
    image = plain_tensor(item["image"]).cpu().float().numpy()[0]
    middle = image.shape[0] // 2
    draw_slice(axes, image, middle)
    for key, color in (("label", "lime"), ("pred", "red")):
        mask = plain_tensor(item[key]).cpu().float().numpy()[0, middle]
        if mask.max() > 0.5:
            axes.contour(mask.T, levels=[0.5], colors=color, linewidths=0.8)
