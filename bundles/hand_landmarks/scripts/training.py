"""Batches of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .shared.geometry.frames import plain_tensor


def prepare_batch(
    batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 1, X, Y) and landmarks (B, K, 2) of a training batch, the images with channels last for speed."""
    image = plain_tensor(batchdata["image"])
    image = image.to(device, memory_format=torch.channels_last, non_blocking=non_blocking, **kwargs)
    return image, torch.as_tensor(batchdata["landmarks"]).to(device, non_blocking=non_blocking)
