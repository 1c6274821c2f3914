"""What Hounsfield units mean in this bundle: the range of the intensities, tissues, names of clusters.

The numbers are in ``hounsfield.json``: ``range`` is what a network is trained for; ``tissues`` are those of voxels of
5 mm, which average cortex and marrow of a bone, and vessels and air of a lung.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

TABLE = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
HU_RANGE: tuple[float, float] = tuple(TABLE["range"])  # of the intensities 0 to 1: the 2500 HU of X2CT-GAN
SPAN_HU = HU_RANGE[1] - HU_RANGE[0]
PICTURE_WINDOW: tuple[float, float] = tuple(TABLE["picture_window"])
BODY_FROM_HU = float(TABLE["body_from"])  # lungs lie below it
SKIN_FROM_HU = float(TABLE["skin_from"])  # skin and everything denser, in voxels as fine as those that are rendered
# numbers in a tissue map; 0 is outside of the patient, and whatever is none of the others
TISSUES = {"air": 0, **{name: number for number, name in enumerate(TABLE["tissues"], start=1)}}


def intensity_to_hu(intensity: Tensor, hu_range: Sequence[float] = HU_RANGE) -> Tensor:
    """Hounsfield units of intensities, 0 to 1 over ``hu_range``."""
    return hu_range[0] + (hu_range[1] - hu_range[0]) * intensity


def hu_to_intensity(hu: Tensor, hu_range: Sequence[float] = HU_RANGE) -> Tensor:
    """Intensities, cut to 0 to 1 over ``hu_range``, of Hounsfield units."""
    return ((hu - hu_range[0]) / (hu_range[1] - hu_range[0])).clamp(0.0, 1.0)


def body_of(intensity: Tensor) -> Tensor:
    """Inside of the patient, bool (X, Y, Z), of intensities (X, Y, Z) without a table; slices are filled."""
    dense = (intensity_to_hu(intensity) > BODY_FROM_HU).cpu().numpy()
    filled = np.stack([ndimage.binary_fill_holes(dense[:, :, z]) for z in range(dense.shape[2])], axis=2)
    return torch.from_numpy(filled)


def between_dense_voxels(intensity: Tensor) -> Tensor:
    """Nearly `body_of`, fast and on any device: what lies between dense voxels along x and y."""
    dense = intensity_to_hu(intensity) > BODY_FROM_HU
    result = torch.ones_like(dense)
    for axis in (0, 1):
        forth = dense.to(torch.uint8).cummax(axis).values.bool()
        back = dense.to(torch.uint8).flip(axis).cummax(axis).values.flip(axis).bool()
        result &= forth & back
    return result


def tissue_map(intensity: Tensor, body: Tensor | None = None) -> Tensor:
    """Numbers of `TISSUES`, uint8 (X, Y, Z), of intensities (X, Y, Z).

    Args:
        intensity: 0 to 1 over the range of the CT.
        body: inside of the patient, bool (X, Y, Z); found where it is None.
    """
    hu = intensity_to_hu(intensity)
    body = (body_of(intensity) if body is None else body).to(hu.device)
    found = torch.zeros(hu.shape, dtype=torch.uint8, device=hu.device)
    for name, limits in TABLE["tissues"].items():
        where = (hu >= limits["from"]) & (hu <= limits.get("to", math.inf))
        found[where & body if limits.get("inside_body") else where] = TISSUES[name]
    return found


def tissue_name(hu: float) -> str:
    """The tissue that the mean of a cluster, in Hounsfield units, speaks for."""
    return next(name for name, limits in TABLE["cluster_names"].items() if hu < limits.get("below", math.inf))
