"""Refusing volumes that are no CT in Hounsfield units before a network makes something up about them."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from ..geometry.frames import voxel_sizes
from ..geometry.grids import volume_affine
from ..geometry.volume_box import file_name
from ..io.errors import CaseError

LEAST_MM = 15.0  # half of the smallest vertebra
SAMPLES = 200_000
THICK_MM = 4.0


def check_ct(volume: MetaTensor) -> None:
    """Refuse what is no CT of a part of a body.

    Every CT shows air, fat or water somewhere, which are at most about 0 HU, and hardly any voxel below -1024.

    Args:
        volume: (1, X, Y, Z) with its affine.

    Raises:
        CaseError: for values that are no HU, or a volume that is thinner than a vertebra.
    """
    spacing = voxel_sizes(volume_affine(volume))
    extent = spacing * np.array(volume.shape[1:])
    if extent.min() < LEAST_MM:
        shown = " x ".join(f"{length:.0f}" for length in extent)
        raise CaseError(file_name(volume), f"is only {shown} mm in size", "give a CT that shows a whole vertebra")
    flat = volume.as_tensor().flatten()
    values = flat[:: max(1, len(flat) // SAMPLES)].float()
    low, high = (float(torch.quantile(values, q)) for q in (0.01, 0.99))
    if low > 50 or high - low < 20 or (low >= 0 and float(values.max()) <= 255):
        problem = f"is no CT in HU: most of its values lie between {low:g} and {high:g}"
        raise CaseError(file_name(volume), problem, "give the CT with its rescale slope and intercept applied")


def ct_warnings(volume: MetaTensor) -> list[str]:
    """Sentences about what makes the results of a CT (1, X, Y, Z) less exact."""
    coarse = float(voxel_sizes(volume_affine(volume)).max())
    return [f"slices are {coarse:.1f} mm apart: heights and borders are less exact"] if coarse > THICK_MM else []
