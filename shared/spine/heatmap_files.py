"""Heatmaps of the first two stages as files, to look into."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor

from ..geometry.grids import volume_affine
from ..io.atomic import atomic_path
from .candidates import CHANNELS
from .labels import SPINE_NAMES


def save_heatmap(heatmap: MetaTensor, path: Path) -> None:
    """Write a heatmap (1, X, Y, Z) with its affine as NIfTI, whole or not at all."""
    image = nibabel.Nifti1Image(heatmap.as_tensor()[0].float().cpu().numpy(), volume_affine(heatmap))
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def save_vertebra_heatmaps(heatmaps: MetaTensor, labels: Iterable[int], folder: Path) -> None:
    """Write ``<name>_heatmap.nii.gz`` of these labels, out of the heatmaps (27, X, Y, Z) of all."""
    affine = torch.as_tensor(np.array(volume_affine(heatmaps)))
    for label in labels:
        channel = heatmaps.as_tensor()[CHANNELS.index(label)][None]
        save_heatmap(MetaTensor(channel, affine=affine), folder / f"{SPINE_NAMES[label]}_heatmap.nii.gz")
