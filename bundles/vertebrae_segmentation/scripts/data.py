"""Training crops: one vertebra, its landmark as a second channel, and its mask."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import generate_spatial_bounding_box
from torch import Tensor

from .shared.geometry.deform import Deformation
from .shared.geometry.frames import transform_points
from .shared.geometry.heatmaps import gaussian_heatmaps
from .shared.spine.augmentation import crop_matrix
from .shared.spine.crops import sample_indices, touched_part
from .shared.spine.dataset import CHANNELS
from .shared.spine.labels import SPINE_LABELS, SPINE_NAMES
from .shared.spine.training_crops import SpineSample, seen_rows
from .vertebra_crops import POSTERIOR_MM


def share_within(labels: MetaTensor, label: int, crop: Deformation, bent: Tensor) -> Tensor:
    """Share of each voxel of a crop that a structure fills, from eight places in it.

    Learned from shares, the border comes out between voxels; of a mask that is cut at one half before, voxels of 2 mm
    keep a Dice of 0.93 alone. Only voxels near the structure are sampled: a vertebra fills a small part of its crop.

    Args:
        labels: (1, X, Y, Z) with its affine.
        label: of the structure.
        crop: what is cut out.
        bent: from :func:`~shared.spine.augmentation.bent_indices`.

    Returns:
        (1, *output) float32.
    """
    matrix = crop_matrix(labels, crop)
    indices = transform_points(matrix, bent.reshape(-1, 3))
    share = torch.zeros(1, len(indices))
    low, high = touched_part(labels.shape[1:], indices)
    if (high <= low).any():
        return share.reshape(1, *bent.shape[:3])
    (x0, y0, z0), (x1, y1, z1) = low.tolist(), high.tolist()
    structure = labels.as_tensor()[:, x0:x1, y0:y1, z0:z1] == label
    if bool(structure.any()):
        first, end = (torch.tensor(corner) for corner in generate_spatial_bounding_box(structure))
        indices -= low
        places = torch.tensor(list(itertools.product((-0.25, 0.25), repeat=3))) @ matrix[:3, :3].T
        margin = 1 + places.abs().amax(dim=0)  # of the interpolation and of the places
        near = ((indices > first - margin) & (indices < end - 1 + margin)).all(dim=1).nonzero()[:, 0]
        if len(near):
            spots = indices[near][:, None, None] + places
            share[:, near] = sample_indices(structure, spots, 0.0).squeeze(2).mean(dim=-1)
    return share.reshape(1, *bent.shape[:3])


class VertebraCrop(SpineSample):
    """Third stage: one vertebra, its landmark as a second channel, and its mask.

    Args:
        size, spacing_mm, ranges, cut_prob: as :class:`SpineSample`.
        sigma_mm: of the Gaussian at the landmark.
        jitter_mm: +- error of the landmark along each axis (random crops alone).
        posterior_mm: how far behind the body the crop is centred.

    Returns (of the call): ``image``, ``landmark`` (the second channel) and ``label`` (float32, the share of each voxel
    that the vertebra fills), each (1, X, Y, Z), ``case`` with the name of the vertebra.
    """

    def __init__(
        self,
        size: Sequence[int],
        spacing_mm: float = 1.0,
        sigma_mm: float = 5.0,
        jitter_mm: float = 3.0,
        posterior_mm: float = POSTERIOR_MM,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, spacing_mm, **kwargs)
        self.sigma_mm, self.jitter_mm, self.posterior_mm = sigma_mm, jitter_mm, posterior_mm

    def choose(self, data: Mapping[Any, Any]) -> tuple[int, np.ndarray]:
        """Label and centre (3,) in RAS mm of a vertebra."""
        rows, centres = seen_rows(data)
        pairs = [
            (CHANNELS[row], c) for row, c in zip(rows, centres, strict=True) if CHANNELS[row] != SPINE_LABELS["sacrum"]
        ]
        return pairs[min(int(self.part(data) * len(pairs)), len(pairs) - 1)]

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        label, centre = self.choose(data)
        landmark = centre if self.ranges is None else centre + self.R.uniform(-1, 1, size=3) * self.jitter_mm
        crop = self.crop(landmark - [0.0, self.posterior_mm, 0.0])
        image, bent = self.look(data, crop)
        mask = share_within(data["labels"], label, crop, bent)
        point = crop.to_output(torch.as_tensor(landmark)[None])
        kept = self.cut(image, point[0].numpy())
        for axis, (low, high) in enumerate(kept):
            mask.narrow(axis + 1, 0, int(low)).zero_()
            mask.narrow(axis + 1, int(high) + 1, self.size[axis] - 1 - int(high)).zero_()
        spot = gaussian_heatmaps(point.float()[None], self.size, self.sigma_mm / self.spacing_mm)[0]
        return {"image": image, "landmark": spot, "label": mask, "case": f"{data['case']} {SPINE_NAMES[label]}"}
