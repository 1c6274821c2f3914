"""Left and right: the check that left organs lie left, and its correction."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .organs import OrganTable
from .shared.geometry.frames import axis_directions, transform_points
from .shared.geometry.grids import volume_affine

LEFT_SIGN = -1.0  # of x in RAS
MARGIN_MM = 2.0


def left_right_axis(affine: np.ndarray) -> int:
    """Array axis (0, 1 or 2) nearest to left-right of an affine (4, 4) to RAS or LPS mm."""
    axes = axis_directions(affine)
    return int(np.abs(axes[0]).argmax())


def label_centres(labels: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    """Centre (3,) in RAS mm of every label of a map (X, Y, Z) with its affine (4, 4)."""
    index = np.argwhere(labels > 0)
    values = labels[tuple(index.T)].astype(int)
    counts = np.bincount(values)
    sums = [np.bincount(values, weights=index[:, axis]) for axis in range(3)]
    return {
        int(n): transform_points(affine, np.array([s[n] / counts[n] for s in sums])) for n in np.flatnonzero(counts)
    }


def wrong_sides(centres: Mapping[int, np.ndarray], table: OrganTable) -> list[tuple[int, ...]]:
    """Organs that do not lie on their side.

    The right organ of each pair must not lie further left than the left one: level with each other, they are no error
    that other names would put right. Where one of them is missing, the other is
    compared with the median place of the organs of the midline.

    Args:
        centres: of :func:`label_centres`, RAS mm.
        table: which organs come in pairs.

    Returns:
        an entry per error: the numbers (left, right) of a pair that is exchanged, or that of a single organ.
    """
    middle = [centres[number][0] for number in table.midline() if number in centres]
    found: list[tuple[int, ...]] = []
    for left, right in table.pairs:
        if left in centres and right in centres:
            if (centres[left][0] - centres[right][0]) * LEFT_SIGN < 0:
                found.append((left, right))
            continue
        for number, sign in ((left, LEFT_SIGN), (right, -LEFT_SIGN)):
            if number in centres and middle and (centres[number][0] - np.median(middle)) * sign < -MARGIN_MM:
                found.append((number,))
    return found


def side_warnings(labels: np.ndarray, affine: np.ndarray, table: OrganTable) -> list[str]:
    """A sentence per error of :func:`wrong_sides` in a label map (X, Y, Z) with its affine (4, 4) to RAS mm."""
    return [
        f"{table.names[organs[0]]} lies on the other side of the midline"
        if len(organs) == 1
        else f"{table.names[organs[0]]} lies to the right of {table.names[organs[1]]}: left and right are exchanged"
        for organs in wrong_sides(label_centres(labels, affine), table)
    ]


def sides_put_right(
    labels: np.ndarray, affine: np.ndarray, table: OrganTable
) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Label map in which organs on the wrong side have the name of their counterpart, and which these were.

    Where half of the pairs or more are wrong, the image itself may be mirrored: nothing is changed then.

    Args:
        labels: (X, Y, Z) uint8, numbers of the table.
        affine: (4, 4), voxel index to RAS mm.
        table: which organs come in pairs.

    Returns:
        the label map; the numbers of each pair or single organ that was renamed, as they were drawn.
    """
    centres = label_centres(labels, affine)
    wrong = wrong_sides(centres, table)
    if not wrong or 2 * len(wrong) >= sum(left in centres or right in centres for left, right in table.pairs):
        return labels, []
    changed = [number for organs in wrong for number in organs]
    renamed = np.arange(len(table) + 1, dtype=np.uint8)
    renamed[changed] = table.mirrored_numbers()[changed]
    return renamed[labels], wrong


def renaming_note(organs: tuple[int, ...], table: OrganTable) -> str:
    """A sentence about one entry of what :func:`sides_put_right` has changed."""
    names = " and ".join(table.names[number] for number in organs)
    return f"{names} lay on the wrong side: given the name of the other side"


class PutSidesRightd(MapTransform):
    """Organs that the network drew on the wrong side get the name of their counterpart.

    It happens to organs that were learned from phantoms alone. What was changed is kept for the report.

    Args:
        keys: label map (1, X, Y, Z) uint8 with its affine.
        table: which organs come in pairs.
        renamed_key: where the numbers of what :func:`sides_put_right` has changed go.
    """

    def __init__(self, keys: KeysCollection, table: OrganTable, renamed_key: str = "renamed_sides") -> None:
        super().__init__(keys)
        self.table, self.renamed_key = table, renamed_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        renamed: list[tuple[int, ...]] = []
        for key in self.key_iterator(output):
            given: MetaTensor = output[key]
            labels, changed = sides_put_right(given.as_tensor()[0].cpu().numpy(), volume_affine(given), self.table)
            output[key] = MetaTensor(torch.from_numpy(labels)[None], meta=dict(given.meta))
            renamed += changed
        output[self.renamed_key] = renamed
        return output
