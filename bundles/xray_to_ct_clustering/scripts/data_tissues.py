"""Air, lung, soft tissue and bone of a CT by its Hounsfield units, and the inside of the patient."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .reprojection import intensity_to_hu

TISSUES = {"air": 0, "lung": 1, "soft": 2, "bone": 3}  # air: outside, and whatever is none of the others
LUNG_HU = (-980.0, -500.0)
SOFT_HU = (-250.0, 150.0)  # fat, muscle, organs, blood
BONE_HU = 180.0  # of voxels of 5 mm, which average cortex and marrow


def body_of(intensity: Tensor) -> Tensor:
    """Inside of the patient, bool (X, Y, Z), of intensities (X, Y, Z) without a table; slices are filled."""
    dense = (intensity_to_hu(intensity) > LUNG_HU[1]).cpu().numpy()
    filled = np.stack([ndimage.binary_fill_holes(dense[:, :, z]) for z in range(dense.shape[2])], axis=2)
    return torch.from_numpy(filled)


def tissue_map(intensity: Tensor, body: Tensor | None = None) -> Tensor:
    """Numbers of `TISSUES`, uint8 (X, Y, Z), of intensities (X, Y, Z).

    Args:
        intensity: 0 to 1 over the range of the CT.
        body: inside of the patient, bool (X, Y, Z); found where it is None.
    """
    hu = intensity_to_hu(intensity)
    body = (body_of(intensity) if body is None else body).to(hu.device)
    tissues = torch.zeros(hu.shape, dtype=torch.uint8, device=hu.device)
    tissues[(hu >= LUNG_HU[0]) & (hu <= LUNG_HU[1]) & body] = TISSUES["lung"]
    tissues[(hu >= SOFT_HU[0]) & (hu <= SOFT_HU[1])] = TISSUES["soft"]
    tissues[hu >= BONE_HU] = TISSUES["bone"]
    return tissues
