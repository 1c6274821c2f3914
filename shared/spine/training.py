"""What the trainings of the three stages share: batches, points of a validation, its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..evaluation.point_metrics import point_errors
from ..geometry.frames import plain_tensor

Array = np.ndarray
LOWEST, HIGHEST = -0.25, 0.6  # normalised intensities of a picture, about a bone window


def prepare_batch(
    batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """``image`` (B, C, X, Y, Z) and ``label`` of a batch; the images with channels last, which convolutions like."""
    image = plain_tensor(batchdata["image"])
    image = image.to(device, memory_format=torch.channels_last_3d, non_blocking=non_blocking, **kwargs)
    return image, plain_tensor(batchdata["label"]).to(device, non_blocking=non_blocking)


def landmark_error(item: Mapping[str, Any]) -> float:
    """Largest error of a crop's points in mm, NaN without any."""
    errors = point_errors(item["points"], item["reference"], item["mm_per_voxel"])
    errors = errors[errors.isfinite()]
    return float(errors.max()) if len(errors) else float("nan")


def draw_slice(axes: Axes, image: Array, x: float) -> None:
    """Sagittal slice of a normalised crop (X, Y, Z) at index ``x``, front on the right, head up."""
    index = int(np.clip(round(x), 0, image.shape[0] - 1))
    axes.imshow(image[index].T, origin="lower", cmap="gray", vmin=LOWEST, vmax=HIGHEST)
