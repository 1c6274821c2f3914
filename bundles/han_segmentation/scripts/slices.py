"""Axial slices for the 2-D network: loaded lazily, a bounded number of cases at a time, and put together again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import Tensor

from .augmentation import crop_box
from .data import PrepareHan
from .network_input import AIR_HU, masked_channels, windowed
from .organs import OrganTable
from .shared.engines.settings import flag
from .shared.geometry.frames import plain_tensor


class RecentCases(Transform):
    """Prepared cases, of which the most recently used ones stay open; their voxels are read when a slice needs them.

    Args:
        prepare: makes and opens a case.
        cases: most that are open at a time.
    """

    def __init__(self, prepare: PrepareHan, cases: int = 8) -> None:
        self.prepare, self.cases = prepare, int(cases)
        self.opened: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        key = self.prepare.key(data)
        if key in self.opened:
            self.opened.move_to_end(key)
        else:
            self.opened[key] = self.prepare(data)
            if len(self.opened) > self.cases:
                self.opened.popitem(last=False)
        return self.opened[key]


def every_slice(cases: Sequence[Mapping[str, Any]], prepare: PrepareHan) -> list[dict[str, Any]]:
    """The samples of an epoch: each axial slice of each case, as the case with its "slice". Prepares all cases."""
    return [{**case, "slice": z} for case in cases for z in range(prepare(case)["labels"].shape[2])]


def organ_weights(
    cases: Sequence[Mapping[str, Any]], prepare: PrepareHan, table: OrganTable, most: float = 100.0
) -> list[float]:
    """How much more a voxel of each organ counts than one outside: how many of the latter there are for each of it.

    Args:
        cases: of the training; for each organ those count in which it was contoured.
        prepare: makes and opens a case.
        table: of the organs.
        most: upper limit, against organs of a few voxels.
    """
    inside, voxels = np.zeros(len(table) + 1), np.zeros(len(table) + 1)
    for case in cases:
        known = prepare(case)
        counts = np.bincount(known["labels"].ravel(), minlength=len(table) + 1)
        inside += np.where(known["valid"] > 0.5, counts, 0)
        voxels += np.where(known["valid"] > 0.5, known["labels"].size, 0)
    outside = (voxels - inside)[1:]
    return np.clip(outside / np.maximum(inside[1:], 1e-9), 1.0, most).tolist()


class OpenSlice(Transform):
    """Open the case of a slice: the prepared case and its "slice".

    Args:
        recent: opens cases.
    """

    def __init__(self, recent: RecentCases) -> None:
        self.recent = recent

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.recent(data), "slice": data["slice"]}


class SliceSample(Transform):
    """One axial slice of a prepared case, centred.

    Args:
        size: rows and columns.
        table: whose first window shows the CT.

    Takes what :class:`OpenSlice` gives. Returns "case", "image" (2, size, size), CT and T1 from 0 to 1,
    "labels" (1, size, size) uint8, "valid" (K,).
    """

    def __init__(self, size: int, table: OrganTable) -> None:
        self.size, self.windows_hu = int(size), table.windows_hu[:1]

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        labels = data["labels"]
        first = np.array([*(-((self.size - np.array(labels.shape[:2])) // 2)), data["slice"]])
        block = (self.size, self.size, 1)
        hu = torch.from_numpy(crop_box(data["hu"], first, block, AIR_HU)[..., 0])[None].float()
        mr = torch.zeros(2, self.size, self.size)
        if len(data["mr"]):
            mr = masked_channels(torch.from_numpy(crop_box(data["mr"], first, block, 0)[..., 0]))
        image = torch.cat([windowed(hu, self.windows_hu), mr[:1]])
        marks = torch.from_numpy(crop_box(labels, first, block, 0)[..., 0])[None]
        valid = torch.from_numpy(np.array(data["valid"]))
        return {"case": data["case"], "image": image, "labels": marks, "valid": valid}


class SliceInferer(Inferer):
    """Runs a 2-D network on every axial slice of a volume.

    Args:
        table: whose windows are the first channels of the input; the T1 follows them.
        size: rows and columns that the network takes; slices are centred in it, what does not fit is background.
        batch_size: slices at a time.
        amp: whether to reduce the precision.

    Input (1, C, X, Y, Z) of the 3-D network, output logits (1, K + 1, X, Y, Z): 0 for the background, so that an organ
    has to be more likely than not.
    """

    def __init__(self, table: OrganTable, size: int = 224, batch_size: int = 4, amp: bool = True) -> None:
        super().__init__()
        self.channels = [0, len(table.windows_hu)]  # soft tissue and T1
        self.size, self.batch_size, self.amp = int(size), int(batch_size), flag("amp", amp)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        volume = plain_tensor(inputs)[0, self.channels]
        room = [self.size - n for n in volume.shape[2:0:-1]]
        pad = [share for free in room for share in (free // 2, free - free // 2)]
        slices = F.pad(volume.permute(3, 0, 1, 2), pad)  # a negative pad crops
        parts = []
        for part in slices.split(self.batch_size):
            with torch.autocast(part.device.type, dtype=torch.bfloat16, enabled=self.amp):
                parts.append(network(part).float())
        logits = F.pad(torch.cat(parts), [-n for n in pad], value=-30.0).permute(1, 2, 3, 0)
        return torch.cat([torch.zeros_like(logits[:1]), logits])[None]
