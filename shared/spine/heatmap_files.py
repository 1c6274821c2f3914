"""Heatmaps of the first two stages as files, to look into."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from ..geometry.grids import volume_affine
from ..io.writers import write_nifti
from .candidates import CHANNELS
from .labels import SPINE_NAMES


def save_heatmap(heatmap: MetaTensor, path: Path) -> None:
    """Write a heatmap (1, X, Y, Z) with its affine as NIfTI, whole or not at all."""
    write_nifti(heatmap.as_tensor()[0].float().cpu(), volume_affine(heatmap), path)


def save_vertebra_heatmaps(heatmaps: MetaTensor, labels: Iterable[int], folder: Path) -> None:
    """Write ``<name>_heatmap.nii.gz`` of these labels, out of the heatmaps (27, X, Y, Z) of all."""
    affine = torch.as_tensor(np.array(volume_affine(heatmaps)))
    for label in labels:
        channel = heatmaps.as_tensor()[CHANNELS.index(label)][None]
        save_heatmap(MetaTensor(channel, affine=affine), folder / f"{SPINE_NAMES[label]}_heatmap.nii.gz")
