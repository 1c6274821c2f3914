"""Third stage: the mask of each vertebra from a crop around its body centre, joined on the grid of the CT.

Payer et al., VISAPP 2020. All positions are RAS millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from ..engines.patches import Network, run_network
from ..engines.settings import flag
from ..geometry.grids import AIR_HU, normalize_hu, to_grid, volume_affine
from ..geometry.heatmaps import gaussian_heatmaps
from ..geometry.volume_box import box_corners, cut_box
from .crops import sample_grid, vertebra_grid
from .merging import LabelMerger

LEFT_RIGHT = 2  # axis of the crops (N, 2, x, y, z), which lie along the patient's axes


def landmark_channel(centre_mm: np.ndarray, affine: np.ndarray, size: Sequence[int], sigma_mm: float) -> Tensor:
    """Gaussian (1, X, Y, Z) of peak 1 at a point, the second input channel: which of the vertebrae in view is meant."""
    inverse = np.linalg.inv(affine)
    index = inverse[:3, :3] @ np.asarray(centre_mm, dtype=float) + inverse[:3, 3]
    points = torch.as_tensor(index, dtype=torch.float32)[None, None]
    return gaussian_heatmaps(points, tuple(size), sigma_mm / float(affine[0, 0]))[0]


def vertebra_input(
    working: MetaTensor, centre_mm: np.ndarray, affine: np.ndarray, size: Sequence[int], sigma_mm: float
) -> Tensor:
    """Network input (2, X, Y, Z) of one vertebra: CT and landmark."""
    crop = normalize_hu(sample_grid(working, affine, size, AIR_HU))
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


def merge_vertebrae(logits: Tensor, affines: Tensor, labels: Sequence[int], volume: MetaTensor) -> MetaTensor:
    """One label map of the crops of all vertebrae.

    Args:
        logits: (N, x, y, z).
        affines: (N, 4, 4) of the crops.
        labels: N of them.
        volume: (1, X, Y, Z), whose grid the label map gets.

    Returns:
        (1, X, Y, Z) uint8.
    """
    merger = LabelMerger(volume.shape[1:], volume_affine(volume))
    for label, crop, affine in zip(labels, logits, affines, strict=True):
        merger.add(label, crop.float().sigmoid(), affine.cpu().numpy())
    return MetaTensor(torch.from_numpy(merger.finish())[None], meta=dict(volume.meta))


class CropInferer(Inferer):
    """Runs the network on the crops of all vertebrae of a CT.

    Args:
        batch_size: crops per pass.
        amp: whether to reduce the precision.
        mirror: whether to average the logits of each crop and of the crop with left and right exchanged: a vertebra
            is symmetric, and the training shows both. It doubles the time.

    The input is (1, N, 2, x, y, z), the output the logits (1, N, x, y, z) on the device of the network.
    """

    def __init__(self, batch_size: int = 1, amp: bool = True, mirror: bool = False) -> None:
        super().__init__()
        self.batch_size, self.amp, self.mirror = batch_size, flag("amp", amp), flag("mirror", mirror)

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        crops = torch.as_tensor(inputs).as_subclass(Tensor)[0]
        logits = []
        for part in crops.split(self.batch_size):
            found = run_network(network, part, self.amp)[:, 0]
            if self.mirror:
                found = (found + run_network(network, part.flip(LEFT_RIGHT), self.amp)[:, 0].flip(LEFT_RIGHT - 1)) / 2
            logits.append(found)
        return torch.cat(logits)[None]
