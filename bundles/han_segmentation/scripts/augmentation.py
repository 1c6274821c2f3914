"""Random crops of prepared cases as input of a network, varied at random, with their labels."""

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

from .network_input import AIR_HU, masked_channels, windowed
from .organs import OrganTable
from .shared.geometry.deform import Deformation, random_controls, sample

Array = np.ndarray
CONTROLS = 5  # points of the B-spline along each axis


@dataclass(frozen=True)
class CropVariation:
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
        table: organs, and the windows that show the CT.
        ranges: of the variation, fields of :class:`CropVariation`; None for a crop as it is.
        foreground: how often the crop is centred in an organ rather than anywhere.
        jitter: largest distance of the centre from that place along each axis, as a share of the crop's size.
        organs: names of those that crops are centred in; all where empty.

    Takes what :class:`~.dataset.PrepareHan` gives. Returns "case", "image" (channels, *size) as
    :func:`~.network_input.network_input` makes it, "labels" (1, *size) uint8, "valid" (K,).
    """

    def __init__(
        self,
        size: Sequence[int],
        table: OrganTable,
        ranges: Mapping[str, float] | None = None,
        foreground: float = 0.9,
        jitter: float = 0.25,
        organs: Sequence[str] = (),
    ) -> None:
        self.size = tuple(int(n) for n in size)
        self.ranges = None if ranges is None else CropVariation(**ranges)
        self.foreground, self.jitter, self.windows_hu = foreground, jitter, table.windows_hu
        self.organs = list(table.numbers_of(organs, "--crop_organs"))
        self.swap = torch.from_numpy(table.mirrored_numbers().astype(np.int64))

    def centre(self, labels: Array) -> Array:
        """(3,) voxel that the crop is centred on."""
        shape = np.array(labels.shape)
        if self.R.uniform() < self.foreground:
            present = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
            if self.organs:
                present = np.intersect1d(present, self.organs)
            if len(present):
                places = np.flatnonzero(labels.ravel() == self.R.choice(present))
                place = np.array(np.unravel_index(self.R.choice(places), labels.shape))
                return place + self.R.uniform(-self.jitter, self.jitter, 3) * self.size
        return self.R.uniform(0, 1, 3) * shape

    def matrix(self, ranges: CropVariation) -> Array:
        """(3, 3) from offsets in the crop to offsets in the case."""
        turn = Rotation.from_euler("xyz", ranges.rotate * self.R.uniform(-1, 1, 3)).as_matrix()
        whole, each = self.R.uniform(-1, 1), self.R.uniform(-1, 1, 3)
        return turn @ np.diag(np.exp(ranges.scale * (whole + 0.5 * each)))

    def deformation(self, ranges: CropVariation) -> tuple[Deformation, Array]:
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
        warp: Deformation | None = None
        block = np.array(self.size)
        if self.ranges is not None and self.R.uniform() < self.ranges.warp_prob:
            warp, block = self.deformation(self.ranges)
        first = (centre - block // 2).astype(int)
        cut = [crop_box(array, first, block, 0 if number else AIR_HU) for number, array in enumerate(images)]
        stack = torch.from_numpy(np.stack(cut).astype(np.float32))
        labels = torch.from_numpy(crop_box(data["labels"], first, block, 0))[None]
        if warp is not None:
            grid = warp.grid()[None]
            stack = sample(stack[None], grid, padding_mode="border")[0]
            labels = sample(labels[None].float(), grid, mode="nearest")[0].to(torch.uint8)
        return stack, labels

    def vary(self, ct: Tensor, mr: Tensor, ranges: CropVariation) -> tuple[Tensor, Tensor]:
        """Change the brightness of CT (1, *size) in HU and MR (C, *size), the first of its channels."""
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
        ct, mr = images[:1], torch.zeros(data["mr_channels"], *self.size)
        if len(images) > 1:
            mr = masked_channels(images[1:])
        if self.ranges is not None:
            ct, mr = self.vary(ct, mr, self.ranges)
            if self.R.uniform() < self.ranges.mirror_prob:
                ct, mr, labels = (torch.flip(x, [1]) for x in (ct, mr, labels))
                labels, valid = self.swap[labels.long()].to(torch.uint8), valid[self.swap]
        image = torch.cat([windowed(ct, self.windows_hu), mr])
        return {"case": data["case"], "image": image, "labels": labels, "valid": valid}
