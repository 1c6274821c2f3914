"""Third stage: the mask of each vertebra from a crop around its body centre, joined on the grid of the CT.

Payer et al., VISAPP 2020. All positions are RAS millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from .shared.geometry.frames import box_corners, centred_grid, transform_points
from .shared.geometry.grids import normalize_hu, to_grid
from .shared.geometry.heatmaps import gaussian_heatmaps
from .shared.geometry.hounsfield import LOWEST_HU
from .shared.geometry.volume_box import cut_box
from .shared.spine.crops import sample_grid


def landmark_channel(centre_mm: np.ndarray, affine: np.ndarray, size: Sequence[int], sigma_mm: float) -> Tensor:
    """Gaussian (1, X, Y, Z) of peak 1 at a point, the second input channel: which of the vertebrae in view is meant."""
    inverse = np.linalg.inv(affine)
    index = transform_points(inverse, np.asarray(centre_mm, dtype=float))
    points = torch.as_tensor(index, dtype=torch.float32)[None, None]
    return gaussian_heatmaps(points, tuple(size), sigma_mm / float(affine[0, 0]))[0]


def vertebra_input(
    working: MetaTensor, centre_mm: np.ndarray, affine: np.ndarray, size: Sequence[int], sigma_mm: float
) -> Tensor:
    """Network input (2, X, Y, Z) of one vertebra: CT and landmark."""
    crop = normalize_hu(sample_grid(working, affine, size, LOWEST_HU))
    return torch.cat([crop, landmark_channel(centre_mm, affine, size, sigma_mm)])


def vertebra_inputs(
    volume: MetaTensor,
    centres_mm: Sequence[np.ndarray],
    size: Sequence[int] = (128, 128, 96),
    spacing_mm: float = 1.0,
    sigma_mm: float = 5.0,
) -> tuple[Tensor, Tensor]:
    """Network inputs of vertebrae whose body centres are known.

    Args:
        volume: (1, X, Y, Z) HU with its affine, in any orientation.
        centres_mm: N body centres (3,) in RAS mm, at least one.
        size: of a crop in voxels.
        spacing_mm: of a crop.
        sigma_mm: of the landmark's Gaussian.

    Returns:
        crops (N, 2, *size) and their affines (N, 4, 4) float64.
    """
    affines = [vertebra_grid(centre.tolist(), size, spacing_mm) for centre in centres_mm]
    ends = np.concatenate([box_corners(a[:3, 3], a[:3, 3] + np.array(size) * spacing_mm) for a in affines])
    working = to_grid(cut_box(volume, ends.min(axis=0), ends.max(axis=0)), spacing_mm)
    crops = [
        vertebra_input(working, centre, affine, size, sigma_mm)
        for centre, affine in zip(centres_mm, affines, strict=True)
    ]
    return torch.stack(crops), torch.as_tensor(np.stack(affines))


POSTERIOR_MM = 20.0  # a vertebra reaches about 15 mm in front of its body's centre and 55 mm behind it


def vertebra_grid(
    centre_ras_mm: Sequence[float] | np.ndarray,
    size: Sequence[int],
    spacing_mm: float,
    posterior_mm: float = POSTERIOR_MM,
) -> np.ndarray:
    """Affine (4, 4), indices to RAS mm, of the crop of one vertebra.

    Args:
        centre_ras_mm: (3,), centre of the vertebral body.
        size: of the crop in voxels.
        spacing_mm: of its voxels.
        posterior_mm: how far the crop is centred behind the body.
    """
    return centred_grid(np.asarray(centre_ras_mm, dtype=float) - [0.0, posterior_mm, 0.0], size, spacing_mm)
