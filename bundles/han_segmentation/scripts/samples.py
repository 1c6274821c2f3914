"""Random crops of prepared cases as input of a network, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Randomizable, Transform
from scipy.spatial.transform import Rotation
from torch import Tensor

from .dataset import MR_SCALE
from .han_input import AIR_HU, windowed
from .organs import NAMES, mirrored_numbers
from .shared.geometry.deform import Deformation, random_controls, sample

Array = np.ndarray
CONTROLS = 5  # points of the B-spline along each axis


@dataclass(frozen=True)
class Ranges:
    """How much samples are varied; drawn uniformly from +- the value where not said otherwise.

    Attributes:
        rotate: angle about each axis in rad.
        scale: fraction, once overall and, half as much, per axis.
        bend: largest shift of the control points of a cubic B-spline, five along each axis, as a share of their
            distance along the shortest one, up to 0.4.
        warp_prob: how often they are turned, scaled and bent at all.
        mirror_prob: how often left and right are exchanged, with the labels of paired organs.
        shift_hu: brightness of the CT.
        gain: contrast of the CT, a fraction.
        noise_hu: largest standard deviation of noise.
        blur_prob: how often the images are blurred, as a CT of large voxels is.
        gamma: of the MR, exponent of at most 1 + this.
        hide_mr: how often the MR is left out altogether.
    """

    rotate: float = 0.15
    scale: float = 0.12
    bend: float = 0.0
    warp_prob: float = 0.6
    mirror_prob: float = 0.5
    shift_hu: float = 15.0
    gain: float = 0.08
    noise_hu: float = 15.0
    blur_prob: float = 0.3
    gamma: float = 0.6
    hide_mr: float = 0.4


def crop_box(array: Array, first: Array, size: Sequence[int] | Array, fill: float) -> Array:
    """Voxels ``first`` to ``first + size`` of the last three axes of an array; ``fill`` beyond its edges."""
    shape = np.array(array.shape[-3:])
    low, high = np.clip(first, 0, shape), np.clip(first + size, 0, shape)
    result = np.full((*array.shape[:-3], *size), fill, array.dtype)
    if (low < high).all():
        source: Any = (..., *(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
        target: Any = (..., *(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True)))
        result[target] = array[source]
    return result


def blurred(images: Tensor, voxels: float) -> Tensor:
    """Images (C, X, Y, Z) averaged over a box of 1 to 2 voxels along x and y: weights (w, 1, w), w below 0.5."""
    weight = 0.5 * voxels
    kernel = torch.tensor([weight, 1.0, weight]) / (1 + 2 * weight)
    for axis in (0, 1):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 3
        pad = [0, 0, 0, 0, 0, 0]
        pad[4 - 2 * axis] = pad[5 - 2 * axis] = 1
        images = F.conv3d(F.pad(images[:, None], pad, mode="replicate"), kernel.view(shape))[:, 0]
    return images


class HanSample(Randomizable, Transform):
    """A crop around a random place, mostly in an organ, varied at random.

    Args:
        size: of the crop, voxels of the working grid.
        ranges: of the variation, fields of :class:`Ranges`; None for a crop as it is.
        foreground: how often the crop is centred in an organ rather than anywhere.
        jitter: largest distance of the centre from that place along each axis, as a share of the crop's size.
        organs: numbers that crops are centred in; all where empty.

    Takes what :class:`~.dataset.PrepareHan` gives. Returns "case", "image" (channels, *size) as
    :func:`~.han_input.network_input` makes it, "labels" (1, *size) uint8, "valid" (31,).
    """

    def __init__(
        self,
        size: Sequence[int],
        ranges: Mapping[str, float] | None = None,
        foreground: float = 0.9,
        jitter: float = 0.25,
        organs: Sequence[int] = (),
    ) -> None:
        self.size = tuple(int(n) for n in size)
        self.ranges = None if ranges is None else Ranges(**ranges)
        self.foreground, self.jitter, self.organs = foreground, jitter, list(organs)
        self.swap = torch.from_numpy(mirrored_numbers().astype(np.int64))

    def centre(self, labels: Array) -> Array:
        """(3,) voxel that the crop is centred on."""
        shape = np.array(labels.shape)
        if self.R.uniform() < self.foreground:
            present = np.flatnonzero(np.bincount(labels.ravel(), minlength=31)[1:]) + 1
            if self.organs:
                present = np.intersect1d(present, self.organs)
            if len(present):
                places = np.flatnonzero(labels.ravel() == self.R.choice(present))
                place = np.array(np.unravel_index(self.R.choice(places), labels.shape))
                return place + self.R.uniform(-self.jitter, self.jitter, 3) * self.size
        return self.R.uniform(0, 1, 3) * shape

    def matrix(self, ranges: Ranges) -> Array:
        """(3, 3) from offsets in the crop to offsets in the case."""
        turn = Rotation.from_euler("xyz", ranges.rotate * self.R.uniform(-1, 1, 3)).as_matrix()
        whole, each = self.R.uniform(-1, 1), self.R.uniform(-1, 1, 3)
        return turn @ np.diag(np.exp(ranges.scale * (whole + 0.5 * each)))

    def deformation(self, ranges: Ranges) -> tuple[Deformation, Array]:
        """From voxels of the crop to those of a block of the case with the same centre, and the block's size (3,)."""
        size, matrix, controls = np.array(self.size), self.matrix(ranges), None
        bend = ranges.bend * min(self.size) / (CONTROLS - 1)
        if bend > 0:
            generator = torch.Generator().manual_seed(int(self.R.randint(2**31)))
            controls = random_controls(generator, 3, CONTROLS, bend, self.size)
        block = (2 * np.ceil(np.abs(matrix) @ (size / 2 + bend))).astype(int) + 2
        shift = (block - 1) / 2 - matrix @ ((size - 1) / 2)
        return Deformation(torch.from_numpy(np.column_stack([matrix, shift])), controls, self.size), block

    def cut(self, data: Mapping[str, Any], images: list[Array]) -> tuple[Tensor, Tensor]:
        """Images (C, *size) float32 and labels (1, *size) of a crop, turned, scaled and bent where the dice say so."""
        centre = np.round(self.centre(data["labels"]))
        fills = (AIR_HU, 0, 0)
        warp: Deformation | None = None
        block = np.array(self.size)
        if self.ranges is not None and self.R.uniform() < self.ranges.warp_prob:
            warp, block = self.deformation(self.ranges)
        first = (centre - block // 2).astype(int)
        cut = [crop_box(array, first, block, fill) for array, fill in zip(images, fills, strict=False)]
        stack = torch.from_numpy(np.stack(cut).astype(np.float32))
        labels = torch.from_numpy(crop_box(data["labels"], first, block, 0))[None]
        if warp is not None:
            grid = warp.grid()[None]
            stack = sample(stack[None], grid, padding_mode="border")[0]
            labels = sample(labels[None].float(), grid, mode="nearest")[0].to(torch.uint8)
        return stack, labels

    def vary(self, ct: Tensor, mr: Tensor, ranges: Ranges) -> tuple[Tensor, Tensor]:
        """Change the brightness of CT (1, *size) in HU and MR (2, *size)."""
        if self.R.uniform() < ranges.blur_prob:
            ct = blurred(ct, self.R.uniform(0.2, 1.0))
        ct = ct * (1 + ranges.gain * self.R.uniform(-1, 1)) + ranges.shift_hu * self.R.uniform(-1, 1)
        noise = self.R.standard_normal(ct.shape).astype(np.float32)
        ct = ct + ranges.noise_hu * self.R.uniform() * torch.from_numpy(noise)
        exponent = (1 + ranges.gamma) ** self.R.uniform(-1, 1)
        if self.R.uniform() < ranges.hide_mr:
            mr = torch.zeros_like(mr)
        return ct, torch.cat([mr[:1].clamp(0, 1) ** exponent, mr[1:]])

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        valid = torch.from_numpy(np.array(data["valid"]))
        images, labels = self.cut(data, [data["hu"], *data["mr"]])
        ct, mr = images[:1], torch.zeros(2, *self.size)
        if len(images) == 3:
            mr = images[1:] / MR_SCALE
            mr = torch.cat([mr[:1], (mr[1:] > 0.5).float()])
        if self.ranges is not None:
            ct, mr = self.vary(ct, mr, self.ranges)
            if self.R.uniform() < self.ranges.mirror_prob:
                ct, mr, labels = (torch.flip(x, [1]) for x in (ct, mr, labels))
                labels, valid = self.swap[labels.long()].to(torch.uint8), valid[self.swap]
        image = torch.cat([windowed(ct), mr[:1] * mr[1:], mr[1:]])
        return {"case": data["case"], "image": image, "labels": labels, "valid": valid}


class OnlyOrgans(Transform):
    """Forget the contours of organs that a network does not draw.

    Args:
        organs: numbers of those that it draws; all where empty.

    Takes and returns what :class:`~.dataset.PrepareHan` gives.
    """

    def __init__(self, organs: Sequence[int] = ()) -> None:
        self.drawn = np.isin(np.arange(len(NAMES) + 1), [0, *(organs or NAMES)])

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if self.drawn.all():
            return dict(data)
        labels = np.where(self.drawn[data["labels"]], data["labels"], np.uint8(0))
        return {**data, "labels": labels, "valid": data["valid"] * self.drawn.astype(data["valid"].dtype)}


def mixed_epoch(cases: Sequence[Mapping[str, Any]], samples: int, patient_share: float = 0.5) -> list[dict[str, Any]]:
    """The samples of an epoch, of patients and of phantoms evenly in turn where there are both.

    Which case a sample is taken from is decided anew in every epoch (:class:`PickCase`).

    Args:
        cases: of :func:`~.dataset.han_datalist`; OpenKBP's patients count as one kind, cases of all organs as another.
        samples: length of the list.
        patient_share: of the first kind, 0 to 1.

    Returns:
        "cases": all cases of the sample's kind.
    """
    partial = [case for case in cases if "openkbp" in case]
    whole = [case for case in cases if "openkbp" not in case]
    if not partial or not whole:
        return [{"cases": partial or whole}] * samples
    turns = np.diff(np.ceil(np.arange(samples + 1) * patient_share - 1e-9)) > 0
    return [{"cases": partial if turn else whole} for turn in turns]


class PickCase(Randomizable, Transform):
    """One of the "cases" of an item at random; an item without them is a case itself."""

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return data["cases"][self.R.randint(len(data["cases"]))] if "cases" in data else data


class WholeCase(Transform):
    """A whole prepared case as input of a network.

    Takes what :class:`~.dataset.PrepareHan` gives. Returns "case", "image" (channels, x, y, z), "labels"
    (1, x, y, z) uint8, "valid" (31,).
    """

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        hu = torch.from_numpy(np.array(data["hu"]))[None].float()
        mr = torch.zeros(2, *hu.shape[1:])
        if len(data["mr"]):
            mr = torch.from_numpy(np.array(data["mr"])).float() / MR_SCALE
            mr = torch.cat([mr[:1], (mr[1:] > 0.5).float()])
        image = torch.cat([windowed(hu), mr[:1] * mr[1:], mr[1:]])
        labels = torch.from_numpy(np.array(data["labels"]))[None]
        valid = torch.from_numpy(np.array(data["valid"]))
        return {"case": data["case"], "image": image, "labels": labels, "valid": valid}
