"""Joining the overlapping crops of single vertebrae into one label map on the grid of the CT, by probability.

Payer et al., VISAPP 2020: each vertebra's probability is resampled to the input grid, its largest component stays,
with its holes filled, and a voxel goes to the vertebra of the highest probability above one half. Work is done inside
the box of each crop alone, in slabs along its longest axis, so that the memory does not depend on the size of the CT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage
from torch import Tensor

from .shared.geometry.grids import volume_affine
from .shared.geometry.masks import largest_component
from .shared.spine.box_sampling import Box, covered_box, sample_box

FLOOR = 0.5  # probability that a voxel of a vertebra reaches at least
FAINT = 0.1  # voxels of less probability do not widen the box that is worked on


class LabelMerger:
    """A label map that vertebrae are added to one by one; the order does not matter but for exact ties.

    Args:
        shape: (X, Y, Z) of the CT.
        affine: (4, 4) of the CT.

    The map of the highest probability so far is kept as bytes: steps of 1/255 do not move a border visibly.
    """

    def __init__(self, shape: Sequence[int], affine: np.ndarray) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.from_world = np.linalg.inv(np.asarray(affine, dtype=float))
        self.labels = np.zeros(self.shape, dtype=np.uint8)
        self.best = np.zeros(self.shape, dtype=np.uint8)
        self.boxes: dict[int, Box] = {}

    def add(self, label: int, probability: Tensor, affine: np.ndarray) -> int:
        """Add the probability (X, Y, Z) of one vertebra, whose crop has this affine (4, 4).

        Returns:
            number of voxels that it got.
        """
        support = torch.nonzero(probability > FAINT)
        if len(support) == 0:
            return 0
        low = support.min(dim=0).values.cpu().numpy() - 1
        high = support.max(dim=0).values.cpu().numpy() + 1
        to_volume = self.from_world @ np.asarray(affine, dtype=float)
        box = covered_box(low, high, to_volume, self.shape)
        if box is None:
            return 0
        sampled = sample_box(probability.float(), np.linalg.inv(to_volume), box).cpu().numpy()
        own = ndimage.binary_fill_holes(largest_component(sampled >= FLOOR))
        level = np.where(own, np.ceil(sampled * 255).clip(min=1), 0).astype(np.uint8)
        won = level > self.best[box]
        self.best[box][won] = level[won]
        self.labels[box][won] = label
        self.boxes[label] = box
        return int(won.sum())

    def finish(self) -> np.ndarray:
        """The label map (X, Y, Z) uint8, one component per label: what a neighbour has cut off is dropped."""
        for label, box in self.boxes.items():
            mask = self.labels[box] == label
            self.labels[box][mask & ~largest_component(mask)] = 0
        return self.labels


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
