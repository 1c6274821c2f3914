"""A pair of X-rays, frontal and lateral, rendered from a CT, and the range of grey values that the network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shared.drr.attenuation import hu_to_attenuation
from ..shared.drr.rendering import render
from ..shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine

LOW_SHARE, HIGH_SHARE = 0.01, 0.99  # quantiles of an image that become 0 and 1
LOWEST, HIGHEST = -0.25, 1.25  # what lies beyond these is cut


def scale_xrays(images: Tensor) -> Tensor:
    """Images (..., rows, columns), bright where much is absorbed, to the range that the network is trained on.

    The 1st and the 99th percentile of each image become 0 and 1. A real X-ray says nothing about absolute attenuation,
    so that the network must not rely on it. A blank image becomes 0.
    """
    flat = images.float().flatten(-2)
    bounds = torch.quantile(flat, torch.tensor([LOW_SHARE, HIGH_SHARE], device=images.device), dim=-1)
    low, high = bounds[0, ..., None, None], bounds[1, ..., None, None]
    span = high - low
    scaled = (images.float() - low) / torch.where(span > 1e-6, span, torch.ones_like(span))
    return scaled.clamp(LOWEST, HIGHEST)


def render_pair(hu: Tensor, spacing_mm: float, geometry: BiplanarGeometry) -> Tensor:
    """Frontal and lateral X-ray of a CT around the isocentre.

    Args:
        hu: (X, Y, Z), axes along right, anterior, superior, its centre at the isocentre.
        spacing_mm: edge of a voxel; that of the detector's pixels or less, for sharp images.
        geometry: of the views.

    Returns:
        Attenuation integrals (2, rows, columns) float32.
    """
    attenuation = hu_to_attenuation(hu.float())[None]
    affine = volume_affine(hu.shape, spacing_mm)
    return render(attenuation, geometry.poses(), geometry.detector(), affine)[:, 0].float()
