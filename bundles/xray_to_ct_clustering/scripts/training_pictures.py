"""The worst cases of a validation, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from .metrics import psnr
from .preview import WINDOW, plane_of
from .reprojection import intensity_to_hu


def draw_case(axes: Axes, item: Mapping[str, Any]) -> None:
    """Coronal (above) and axial plane of the CT, left, and of the prediction, right.

    Args:
        axes: where to draw.
        item: ``label`` and ``pred`` (1, X, Y, Z), intensities.
    """
    volumes = [intensity_to_hu(torch.as_tensor(item[key])[0].float()).cpu().numpy() for key in ("label", "pred")]
    rows = [np.concatenate([plane_of(volume, name) for volume in volumes], axis=1) for name in ("coronal", "axial")]
    axes.imshow(np.concatenate(rows), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], interpolation="nearest")


def badness(item: Mapping[str, Any]) -> float:
    """The PSNR in dB, negative, so that higher is worse."""
    return -psnr(torch.as_tensor(item["pred"]), torch.as_tensor(item["label"]))
