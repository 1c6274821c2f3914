"""Where a predicted volume is right: maps of position-weighted accuracy, intensity error and contrast error."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .position import axis_positions


def center_weight(volume: Tensor, width: float = 1.0) -> Tensor:
    """exp(-|p|² / width²) (X, Y, Z) of the voxel positions p in [-1, 1]³ of a volume (..., X, Y, Z)."""
    axes = [torch.exp(-(axis_positions(length, volume.device) / width).square()) for length in volume.shape[-3:]]
    return axes[0][:, None, None] * axes[1][:, None] * axes[2]


def slopes(volume: Tensor) -> list[Tensor]:
    """Differences to the next voxel along x, y and z, each of the volume's shape (B, X, Y, Z), 0 at the last voxel."""
    return [
        F.pad(volume[:, 1:] - volume[:, :-1], [0, 0, 0, 0, 0, 1]),
        F.pad(volume[:, :, 1:] - volume[:, :, :-1], [0, 0, 0, 1]),
        F.pad(volume[:, :, :, 1:] - volume[:, :, :, :-1], [0, 1]),
    ]


class PositionIntensityTracker(nn.Module):
    """Compares a predicted volume with the truth, voxel by voxel.

    With the error e = pred - truth (0 to 1 over the range of the CT) and the weight w = exp(-|p|² / width²), 1 at the
    centre of the volume and for a width of 1 0.05 in its corners, times the region's own where one is given:

    - ``position_accuracy`` = w (1 - |e|), not clamped: an error of any size is felt
    - ``position_weight`` = w
    - ``intensity_error`` = |e|
    - ``contrast_error`` = sum over the axes of |slope of e|, which is |slope of pred - slope of truth|
    - ``known`` = 1 where the truth is a number. Elsewhere (outside the scanner's field of view) everything is 0.

    Args:
        width: half widths of the volume at which the weight has fallen to 1 / e.

    Raises:
        ValueError: for a width that is not above 0.

    Input: pred and truth (B, 1, X, Y, Z); roi_weight (B or 1, 1, X, Y, Z), see `roi_weight_map`, or None. Output:
    maps (B, X, Y, Z), differentiable in the prediction.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"the width of the position weight has to be above 0, got {width}")
        self.width = float(width)

    def forward(self, pred: Tensor, truth: Tensor, roi_weight: Tensor | None = None) -> dict[str, Tensor]:
        if pred.shape != truth.shape:
            raise ValueError(f"prediction {pred.shape} and truth {truth.shape} differ in shape")
        pred, truth = pred[:, 0].float(), truth[:, 0].float()
        counted = torch.isfinite(truth)
        known = counted.to(pred.dtype)
        error = torch.where(counted, pred - torch.where(counted, truth, torch.zeros_like(truth)), 0.0)
        weight = center_weight(pred, self.width) * known
        if roi_weight is not None:
            weight = weight * roi_weight[:, 0].to(pred.dtype)
        both = slopes(error)
        # a slope counts where both of its voxels do
        pairs = [(slope == 0).to(pred.dtype) for slope in slopes(known)]
        contrast = both[0].abs() * pairs[0] + both[1].abs() * pairs[1] + both[2].abs() * pairs[2]
        return {
            "position_accuracy": weight * (1 - error.abs()),
            "position_weight": weight,
            "intensity_error": error.abs(),
            "contrast_error": contrast * known,
            "known": known,
        }
