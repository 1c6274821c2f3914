"""Volumes that carry their truth in their intensities, and "networks" that read it: tests of all geometry.

A voxel of vertebra ``label`` has ``STEP * label`` HU, one near the centre of its body half a step more, all others
a little below 0.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import Tensor

from shared.phantoms.torso.phantom import TorsoPhantom
from shared.spine.hu_window import HU_WINDOW
from shared.spine.labels import CRANIOCAUDAL

STEP = 32.0
BALL_MM = 9.0
BACKGROUND = -16.0  # something below 0 HU, as every CT has
CHANNELS = CRANIOCAUDAL[:-1]  # without the coccyx


def encode(labels: np.ndarray, affine: np.ndarray, centres_ras: dict[int, np.ndarray]) -> np.ndarray:
    """HU (X, Y, Z) float32 of a label map and its body centres."""
    hu = np.full(labels.shape, BACKGROUND, dtype=np.float32)
    for label in np.unique(labels[labels > 0]):
        hu[labels == label] = STEP * label
    index = np.stack(np.meshgrid(*[np.arange(n) for n in labels.shape], indexing="ij"), axis=-1)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    inverse = np.linalg.inv(affine)
    for label, centre in centres_ras.items():
        at = inverse[:3, :3] @ centre + inverse[:3, 3]
        hu[(((index - at) * spacing) ** 2).sum(axis=-1) <= BALL_MM**2] = STEP * (label + 0.5)
    return hu


def phantom_centres(phantom: TorsoPhantom) -> dict[int, np.ndarray]:
    """Body centres in RAS mm."""
    return {label: centre * [-1.0, -1.0, 1.0] for label, centre in phantom.body_centres.items()}


def encoded_volume(phantom: TorsoPhantom) -> MetaTensor:
    """(1, X, Y, Z) HU that carry the truth of a phantom."""
    hu = encode(phantom.labels, phantom.affine, phantom_centres(phantom))
    return MetaTensor(torch.from_numpy(hu)[None], affine=torch.from_numpy(phantom.affine))


def codes(image: Tensor) -> Tensor:
    """Labels (with a half at body centres) of normalised intensities."""
    return image * HU_WINDOW[1] / STEP


def spine_oracle(image: Tensor) -> Tensor:
    """Stage 1: 1 where vertebrae are."""
    return (codes(image) > 0.5).float()


def vertebrae_oracle(image: Tensor, stride: int = 2, sigma_mm: float = 6.0, spacing_mm: float = 2.0) -> Tensor:
    """Stage 2: Gaussians around the centroids of the balls, (1, 27, X / stride, ...)."""
    values = codes(image)[0, 0]
    # Inside a ball all neighbours are equal; interpolation makes other codes at its border alone.
    same = (F.max_pool3d(values[None], 3, 1, 1) + F.max_pool3d(-values[None], 3, 1, 1))[0].abs() < 0.1
    size = [n // stride for n in values.shape]
    axes = [torch.arange(n) * stride for n in size]
    heatmaps = torch.zeros(len(CHANNELS), *size)
    for channel, label in enumerate(CHANNELS):
        inside = torch.nonzero(same & ((values - label - 0.5).abs() < 0.1)).float()
        if len(inside):
            centre = inside.mean(dim=0)
            profiles = [
                torch.exp(-0.5 * ((a - c) * spacing_mm / sigma_mm) ** 2) for a, c in zip(axes, centre, strict=True)
            ]
            heatmaps[channel] = torch.einsum("i,j,k->ijk", *profiles)
    return heatmaps[None]


def segmentation_oracle(crops: Tensor) -> Tensor:
    """Stage 3: logits of the vertebra whose code is at the landmark, (B, 1, X, Y, Z)."""
    logits = []
    for image, landmark in crops.as_subclass(Tensor):
        values = codes(image)
        label = torch.floor(values.flatten()[landmark.argmax()] + 0.1)
        inside = ((values - label - 0.25).abs() < 0.3).float()
        bone = ((values > 0.5) & ((values % 1 < 0.01) | (values % 1 > 0.99))).float()
        near = F.max_pool3d(inside[None], 3, 1, 1)[0] * (1 - bone)  # interpolated with the background
        part = torch.maximum(inside, near * (values / label.clamp(min=1)).clamp(0, 1))
        logits.append(((part - 0.5) * 20)[None])
    return torch.stack(logits)
