"""Network inputs and targets of the three stages, cut out of prepared cases.

Each transform takes what :class:`~shared.spine.dataset.PrepareSpine` returns. With ``ranges`` the crop is random;
without them it is straight and lies at the part ``sample`` (0 to 1) of the case, so that a validation sees the same
every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform
from torch import Tensor

from ..geometry.deform import Deformation
from ..geometry.grids import normalize_hu, volume_affine
from ..geometry.hounsfield import LOWEST_HU
from .augmentation import CropRanges, bent_indices, crop_volume, draw_crop, straight_crop
from .dataset import FAR_MM

Array = np.ndarray


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
        ranges: keywords of :class:`~shared.spine.augmentation.CropRanges`; None for a straight crop.
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
        self.ranges = None if ranges is None else CropRanges(**ranges)

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
        return normalize_hu(crop_volume(data["image"], crop, bent, LOWEST_HU)), bent

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
