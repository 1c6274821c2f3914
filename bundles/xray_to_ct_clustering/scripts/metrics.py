"""How close a predicted volume is to the CT.

Intensities are 0 to 1 over the 2500 HU of X2CT-GAN. PSNR with a peak of 1 is that at the true range; X2CT-GAN's own
script takes a peak of 4095 for data of 0 to 2500, which adds 4.29 dB. SSIM has windows of 7 voxels per axis, over
the volume (3-D) or slice by slice over the three axes (as X2CT-GAN does).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler
from monai.metrics import SSIMMetric
from torch import Tensor

from .hounsfield import SPAN_HU
from .shared.engines.items import iteration_items
from .shared.evaluation.gathered_metric import GatheredMetric
from .shared.geometry.frames import plain_tensor
from .shared.networks.clustering.tracking import PositionIntensityTracker

X2CT_PEAK_DB = 20 * math.log10(4095 / 2500)
WINDOW = 7


def mae_hu(pred: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Mean absolute error in HU of intensities of any shape, where a mask says so; NaN for an empty one."""
    error = (pred.float() - truth.float()).abs()
    return float((error if where is None else error[where.to(error.device)]).mean()) * SPAN_HU


def psnr(pred: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio [dB] at the true range of intensities of any shape; infinite where they are equal."""
    square = (pred.float() - truth.float()).square()
    mean = float((square if where is None else square[where.to(square.device)]).mean())
    return -10 * math.log10(mean) if mean > 0 else math.inf if mean == 0 else math.nan


def psnr_x2ct(pred: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """PSNR [dB] as X2CT-GAN's script computes it, with a peak of 4095 for data of 0 to 2500."""
    return psnr(pred, truth, where) + X2CT_PEAK_DB


def ssim_3d(pred: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Structural similarity of volumes (X, Y, Z) with windows of 7³ voxels; all of them, whatever ``where`` says."""
    metric = SSIMMetric(3, data_range=1.0, kernel_type="uniform", win_size=WINDOW)
    return float(metric(pred[None, None].float(), truth[None, None].float()).mean())  # type: ignore[union-attr]


def ssim_slices(pred: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Structural similarity of volumes (X, Y, Z), the mean over all slices across each of the three axes.

    All voxels count, whatever ``where`` says.
    """
    metric, means = SSIMMetric(2, data_range=1.0, kernel_type="uniform", win_size=WINDOW), []
    for axis in range(3):
        slices = [volume.float().movedim(axis, 0)[:, None] for volume in (pred, truth)]
        means.append(float(metric(*slices).mean()))  # type: ignore[union-attr]
    return sum(means) / 3


FIGURES: dict[str, Callable[..., float]] = {  # of prediction, truth and where both are known
    "psnr": psnr,
    "psnr_x2ct": psnr_x2ct,
    "mae_hu": mae_hu,
    "ssim_3d": ssim_3d,
    "ssim_slices": ssim_slices,
}


def position_accuracy(pred: Tensor, truth: Tensor) -> float:
    """Mean of 1 - |error| of intensities (X, Y, Z), weighted by `PositionIntensityTracker`."""
    maps = PositionIntensityTracker()(pred[None, None].float(), truth[None, None].float())
    return float(maps["position_accuracy"].sum() / maps["position_weight"].sum())


class FigureMetric(GatheredMetric):
    """One of `FIGURES`, or "position_accuracy", of each volume; the mean over all cases and processes."""

    def __init__(self, figure: str) -> None:
        super().__init__()
        self.figure = (FIGURES | {"position_accuracy": position_accuracy})[figure]

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Figures (B, 1) of intensities (B, 1, X, Y, Z)."""
        if y is None:
            raise ValueError("the true volume is needed")
        return torch.tensor([[self.figure(one[0], true[0])] for one, true in zip(y_pred, y, strict=True)])

    def aggregate(self) -> float:
        """The mean, NaN without cases."""
        values = self.get_buffer()
        return float("nan") if values is None else float(values.mean())


class VolumeMetric(IgniteMetricHandler):
    """Metric of an evaluator that decollates its batches: the mean of a figure over the cases.

    Args:
        figure: one of `FIGURES`, or "position_accuracy", of "pred" against "label", both (1, X, Y, Z).
    """

    def __init__(self, figure: str) -> None:
        super().__init__(metric_fn=FigureMetric(figure), save_details=True)

    def iteration_completed(self, engine: Engine) -> None:
        for item in iteration_items(engine):
            pred, label = (plain_tensor(item[key]) for key in ("pred", "label"))
            self.update([pred[None], label[None].to(pred.device)])
