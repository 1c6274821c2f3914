"""Left and right: mirroring that exchanges the labels, the check that left organs lie left, and its correction."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import ensure_tuple

from .organs import NAMES, ORGANS, PAIRS, mirrored_numbers
from .shared.geometry.grids import volume_affine

LEFT_SIGN = -1.0  # of x in RAS
MARGIN_MM = 2.0


def left_right_axis(affine: np.ndarray) -> int:
    """Array axis (0, 1 or 2) nearest to left-right of an affine (4, 4) to RAS or LPS mm."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return int(np.abs(axes[0]).argmax())


def label_centres(labels: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    """Centre (3,) in RAS mm of every label of a map (X, Y, Z) with its affine (4, 4)."""
    index = np.argwhere(labels > 0)
    values = labels[tuple(index.T)].astype(int)
    counts = np.bincount(values)
    sums = [np.bincount(values, weights=index[:, axis]) for axis in range(3)]
    return {
        int(n): affine[:3, :3] @ np.array([s[n] / counts[n] for s in sums]) + affine[:3, 3]
        for n in np.flatnonzero(counts)
    }


def wrong_sides(centres: Mapping[int, np.ndarray]) -> list[tuple[int, ...]]:
    """Organs that do not lie on their side.

    The right organ of each pair must not lie further left than the left one: level with each other, they are no error
    that other names would put right. Where one of them is missing, the other is
    compared with the median place of the organs of the midline.

    Args:
        centres: of :func:`label_centres`, RAS mm.

    Returns:
        an entry per error: the numbers (left, right) of a pair that is exchanged, or that of a single organ.
    """
    middle = [centres[organ.number][0] for organ in ORGANS if organ.side is None and organ.number in centres]
    found: list[tuple[int, ...]] = []
    for left, right in PAIRS:
        if left in centres and right in centres:
            if (centres[left][0] - centres[right][0]) * LEFT_SIGN < 0:
                found.append((left, right))
            continue
        for number, sign in ((left, LEFT_SIGN), (right, -LEFT_SIGN)):
            if number in centres and middle and (centres[number][0] - np.median(middle)) * sign < -MARGIN_MM:
                found.append((number,))
    return found


def side_warnings(labels: np.ndarray, affine: np.ndarray) -> list[str]:
    """A sentence per error of :func:`wrong_sides` in a label map (X, Y, Z) with its affine (4, 4) to RAS mm."""
    return [
        f"{NAMES[organs[0]]} lies on the other side of the midline"
        if len(organs) == 1
        else f"{NAMES[organs[0]]} lies to the right of {NAMES[organs[1]]}: left and right are exchanged"
        for organs in wrong_sides(label_centres(labels, affine))
    ]


def sides_put_right(labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Label map in which organs on the wrong side have the name of their counterpart, and a sentence about each.

    Where half of the pairs or more are wrong, the image itself may be mirrored: nothing is changed then.

    Args:
        labels: (X, Y, Z) uint8, numbers of `han_organs`.
        affine: (4, 4), voxel index to RAS mm.
    """
    centres = label_centres(labels, affine)
    wrong = wrong_sides(centres)
    if not wrong or 2 * len(wrong) >= sum(left in centres or right in centres for left, right in PAIRS):
        return labels, []
    changed = [number for organs in wrong for number in organs]
    table = np.arange(len(ORGANS) + 1, dtype=np.uint8)
    table[changed] = mirrored_numbers()[changed]
    notes = [
        f"{' and '.join(NAMES[number] for number in organs)} lay on the wrong side: given the name of the other side"
        for organs in wrong
    ]
    return table[labels], notes


class PutSidesRightd(MapTransform):
    """Organs that the network drew on the wrong side get the name of their counterpart.

    It happens to organs that were learned from phantoms alone. What was changed is kept for the report.

    Args:
        keys: label map (1, X, Y, Z) uint8 with its affine.
        notes_key: where the sentences of :func:`sides_put_right` go.
    """

    def __init__(self, keys: KeysCollection, notes_key: str = "side_notes") -> None:
        super().__init__(keys)
        self.notes_key = notes_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        notes = []
        for key in self.key_iterator(output):
            given: MetaTensor = output[key]
            labels, changed = sides_put_right(given.as_tensor()[0].cpu().numpy(), volume_affine(given))
            output[key] = MetaTensor(torch.from_numpy(labels)[None], meta=dict(given.meta))
            notes += changed
        output[self.notes_key] = notes
        return output


class RandMirrord(RandomizableTransform, MapTransform):
    """Mirror a patient left-right and exchange the labels of the paired organs.

    The result is another patient on the same grid, in which left organs lie left: the affine stays as it is.

    Args:
        keys: tensors (C, X, Y, Z).
        label_keys: those of the keys that hold numbers of `han_organs`.
        valid_key: tensor (31,) of known channels; left out where None.
        prob: probability.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = (),
        valid_key: str | None = None,
        prob: float = 0.5,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.label_keys = set(ensure_tuple(label_keys))
        self.valid_key = valid_key
        self.table = torch.from_numpy(mirrored_numbers().astype(np.int64))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        for key in self.key_iterator(result):
            tensor = result[key]
            affine = np.asarray(tensor.affine) if isinstance(tensor, MetaTensor) else np.eye(4)
            mirrored = torch.flip(tensor, [left_right_axis(affine) + 1])
            if key in self.label_keys:
                mirrored = mirrored.copy_(self.table.to(mirrored.device)[mirrored.long()].to(mirrored.dtype))
            result[key] = mirrored
        if self.valid_key is not None:
            result[self.valid_key] = torch.as_tensor(result[self.valid_key])[self.table]
        return result
