"""Network inputs and targets of the three stages, cut out of prepared cases.

Each transform takes what :class:`~shared.spine.dataset.PrepareSpine` returns. With ``ranges`` the crop is random;
without them it is straight and lies at the part ``sample`` (0 to 1) of the case, so that a validation sees the same
every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform, generate_spatial_bounding_box
from torch import Tensor

from ..geometry.deform import Deformation
from ..geometry.grids import AIR_HU, normalize_hu, volume_affine
from ..geometry.heatmaps import gaussian_heatmaps
from .augment import Ranges, bent_indices, crop_matrix, crop_volume, draw_crop, straight_crop
from .crops import POSTERIOR_MM, sample_indices, touched_part
from .dataset import CHANNELS, FAR_MM
from .labels import SPINE_LABELS, SPINE_NAMES

Array = np.ndarray
ASIDE_MM = 40.0  # how far a random turn moves the ends of a long crop at most


def repeat_cases(cases: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Every case ``count`` times, its crops spread evenly over it."""
    return [{**case, "sample": (number + 0.5) / count} for case in cases for number in range(count)]


def bounds_mm(volume: MetaTensor) -> tuple[Array, Array]:
    """Lowest and highest voxel centre (3,) of a volume on a RAS grid, in RAS mm."""
    affine = volume_affine(volume)
    low = affine[:3, 3]
    return low, low + (np.array(volume.shape[1:]) - 1) * np.diag(affine)[:3]


class SpineSample(Randomizable, Transform):
    """What the crops of all stages have in common.

    Args:
        size: of the crop in voxels.
        spacing_mm: of its voxels.
        ranges: keywords of :class:`~shared.spine.augment.Ranges`; None for a straight crop.
        cut_prob: how often the field of view is cut to a random part, along the body and across it.
    """

    def __init__(
        self,
        size: Sequence[int],
        spacing_mm: float,
        ranges: Mapping[str, Any] | None = None,
        cut_prob: float = 0.0,
    ) -> None:
        self.size, self.spacing_mm, self.cut_prob = tuple(int(n) for n in size), float(spacing_mm), cut_prob
        self.ranges = None if ranges is None else Ranges(**ranges)

    def part(self, data: Mapping[Any, Any]) -> float:
        """Where in a case to look, 0 to 1."""
        return float(data.get("sample", 0.5)) if self.ranges is None else float(self.R.rand())

    def crop(self, centre: Array) -> Deformation:
        """The crop about a point in RAS mm."""
        if self.ranges is None:
            return straight_crop(centre, self.size, self.spacing_mm)
        return draw_crop(centre, self.size, self.spacing_mm, self.ranges, self.R)

    def cut(self, image: Tensor, inside: Array) -> list[tuple[float, float]]:
        """Blank what a smaller field of view would not show; in place.

        Args:
            image: normalised crop (1, X, Y, Z).
            inside: index (3,) that stays in view.

        Returns:
            first and last index that is left along each axis.
        """
        kept = [(0.0, size - 1.0) for size in self.size]
        if self.ranges is None:
            return kept
        for axes, least_mm in (((0, 1), 55.0), ((2,), 40.0)):
            if self.R.rand() >= self.cut_prob:
                continue
            for axis in axes:
                reach = self.R.uniform(least_mm, 2.5 * least_mm, size=2) / self.spacing_mm
                low, high = (int(round(inside[axis] - reach[0])), int(round(inside[axis] + reach[1])))
                low, high = max(low, 0), min(high, self.size[axis] - 1)
                if high <= low:
                    continue
                image.narrow(axis + 1, 0, low).fill_(-1.0)
                image.narrow(axis + 1, high + 1, self.size[axis] - 1 - high).fill_(-1.0)
                kept[axis] = (low, high)
        return kept

    def look(self, data: Mapping[Any, Any], crop: Deformation) -> tuple[Tensor, Tensor]:
        """Normalised crop (1, X, Y, Z) of the CT, and the bent grid for more volumes."""
        bent = bent_indices(crop)
        return normalize_hu(crop_volume(data["image"], crop, bent, AIR_HU)), bent

    def points(self, crop: Deformation, centres: Tensor, kept: Sequence[tuple[float, float]]) -> Tensor:
        """Crop indices (27, 3) of centres in RAS mm: far away where cut off, NaN where unknown."""
        seen = centres.abs().amax(dim=-1) < FAR_MM / 2
        points = crop.to_output(torch.where(seen[:, None], centres, torch.zeros_like(centres)))
        low, high = torch.tensor(kept, dtype=points.dtype).T
        blank = ((points < low) | (points > high)).any(dim=-1) & (
            (low > 0) | (high < torch.tensor(self.size) - 1)
        ).any()
        points[~seen | blank] = FAR_MM
        points[centres.isnan().any(dim=-1)] = torch.nan
        return points


def seen_rows(data: Mapping[Any, Any]) -> tuple[list[int], Array]:
    """Channels whose centre is known and in the image, and their centres (N, 3) in RAS mm."""
    centres = torch.as_tensor(data["centres"]).numpy()
    rows = [row for row in range(len(centres)) if np.abs(centres[row]).max() < FAR_MM / 2]
    return rows, centres[rows]


class SpineCrop(SpineSample):
    """First stage: the whole body at a coarse spacing, and one heatmap of all vertebrae.

    The target is the sum of a Gaussian at each body centre, scaled to a maximum of 1.

    Args:
        size, spacing_mm, ranges, cut_prob: as :class:`SpineSample`.
        sigma: of the Gaussians in voxels.

    Returns (of the call): ``image`` (1, X, Y, Z), ``label`` (1, X, Y, Z), ``case``.
    """

    def __init__(self, size: Sequence[int], spacing_mm: float = 8.0, sigma: float = 3.0, **kwargs: Any) -> None:
        super().__init__(size, spacing_mm, **kwargs)
        self.sigma = sigma

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        low, high = bounds_mm(data["image"])
        centre = (low + high) / 2
        free = max(0.0, high[2] - low[2] - self.size[2] * self.spacing_mm)  # what a crop of a long scan leaves out
        centre[2] += (self.part(data) - 0.5) * free
        crop = self.crop(centre)
        image, _ = self.look(data, crop)
        rows, _ = seen_rows(data)
        middle = (np.array(self.size) - 1) / 2
        kept = self.cut(image, middle)
        points = self.points(crop, torch.as_tensor(data["centres"]).double(), kept)
        bodies = [row for row in rows if CHANNELS[row] != SPINE_LABELS["sacrum"]]
        target = torch.zeros(1, *self.size)
        if bodies:
            target = gaussian_heatmaps(points[bodies].float()[None], self.size, self.sigma)[0].sum(dim=0, keepdim=True)
            target = target / target.max().clamp(min=1.0)
        return {"image": image, "label": target, "case": data["case"]}


class VertebraeCrop(SpineSample):
    """Second stage: a long crop about the spine, and the centres of all vertebrae.

    Args:
        size, spacing_mm, ranges, cut_prob: as :class:`SpineSample`.
        lengths: voxels along the body that random crops draw from; that of ``size`` where None. Batches of more than
            one crop need one length.

    Returns (of the call): ``image`` (1, X, Y, Z), ``label`` (27, 3) in its indices, ``FAR_MM`` for what is not there,
    NaN for what is unknown, ``case``.
    """

    def __init__(
        self, size: Sequence[int], spacing_mm: float = 2.0, lengths: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(size, spacing_mm, **kwargs)
        self.lengths, self.most = lengths, self.ranges

    def draw_length(self) -> None:
        """Draw the length of the next crop; a long one is turned less, so that its ends stay in view."""
        if self.most is None:
            return
        if self.lengths:
            self.size = (*self.size[:2], int(self.lengths[self.R.randint(len(self.lengths))]))
        half_mm = self.size[2] * self.spacing_mm / 2
        self.ranges = replace(self.most, rotate=min(self.most.rotate, ASIDE_MM / half_mm))

    def centre(self, data: Mapping[Any, Any]) -> Array:
        """Centre (3,) of a crop, RAS mm: along the body within the image, across it on the bodies that are in view."""
        low, high = bounds_mm(data["image"])
        length = self.size[2] * self.spacing_mm
        centre = (low + high) / 2
        centre[2] += (self.part(data) - 0.5) * max(0.0, high[2] - low[2] - length)
        _, bodies = seen_rows(data)
        near = bodies[np.abs(bodies[:, 2] - centre[2]) < length / 2] if len(bodies) else bodies
        if len(near):
            centre[:2] = near[:, :2].mean(axis=0)
        return centre

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        self.draw_length()
        crop = self.crop(self.centre(data))
        image, _ = self.look(data, crop)
        centres = torch.as_tensor(data["centres"]).double()
        rows, _ = seen_rows(data)
        inside = np.array(self.size) / 2
        if rows and self.ranges is not None:
            one = centres[rows[self.R.randint(len(rows))]]
            found = crop.to_output(one[None])[0].numpy()
            if (found >= 0).all() and (found < np.array(self.size)).all():
                inside = found
        kept = self.cut(image, inside)
        return {"image": image, "label": self.points(crop, centres, kept).float(), "case": data["case"]}


def share_within(labels: MetaTensor, label: int, crop: Deformation, bent: Tensor) -> Tensor:
    """Share of each voxel of a crop that a structure fills, from eight places in it.

    Learned from shares, the border comes out between voxels; of a mask that is cut at one half before, voxels of 2 mm
    keep a Dice of 0.93 alone. Only voxels near the structure are sampled: a vertebra fills a small part of its crop.

    Args:
        labels: (1, X, Y, Z) with its affine.
        label: of the structure.
        crop: what is cut out.
        bent: from :func:`~shared.spine.augment.bent_indices`.

    Returns:
        (1, *output) float32.
    """
    matrix = crop_matrix(labels, crop)
    indices = bent.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
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

    def choose(self, data: Mapping[Any, Any]) -> tuple[int, Array]:
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
