"""Label maps: one connected component per label, and the boxes of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class CleanedLabel:
    """What :func:`keep_largest_components` did to one label.

    Attributes:
        label: its number.
        voxels: how many it keeps.
        components: number of components that it had.
        removed_voxels: voxels of the components that were removed.
        largest_removed_voxels: size of the largest of them.
    """

    label: int
    voxels: int
    components: int
    removed_voxels: int
    largest_removed_voxels: int

    @property
    def removed_fraction(self) -> float:
        """Removed share of the label."""
        return self.removed_voxels / max(1, self.voxels + self.removed_voxels)


def largest_component(mask: np.ndarray, structure: np.ndarray | None = None) -> np.ndarray:
    """The largest connected component of a mask, bool of the same shape; nothing where the mask is empty.

    Args:
        mask: bool, of any dimension.
        structure: which neighbours are connected, as of `scipy.ndimage.label`; those through faces where None.

    Of components of equal size the first in memory stays.
    """
    parts, count = ndimage.label(mask, structure)
    if count < 2:
        return parts > 0
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def present_labels(mask: np.ndarray) -> list[int]:
    """Labels of a map, without the background 0, ascending."""
    return [int(label) for label in np.unique(mask) if label != 0]


def keep_largest_components(
    mask: np.ndarray, labels: Sequence[int] | None = None
) -> tuple[np.ndarray, list[CleanedLabel]]:
    """The largest connected component of each label; everything else becomes background.

    Voxels are connected through their faces, so that the result is one component by every definition. Of components of
    equal size the first in memory stays.

    Args:
        mask: label map of non-negative integers, of any dimension.
        labels: the ones to keep; all where None. Labels that do not occur are reported with 0 voxels.

    Returns:
        a new map of the same type, and one report per label in the order of ``labels``.
    """
    wanted = present_labels(mask) if labels is None else [int(label) for label in labels]
    cleaned = np.zeros_like(mask)
    boxes = ndimage.find_objects(mask.astype(np.int32))
    reports = []
    for label in wanted:
        box = boxes[label - 1] if 0 < label <= len(boxes) else None
        if box is None:
            reports.append(CleanedLabel(label, 0, 0, 0, 0))
            continue
        components, count = ndimage.label(mask[box] == label)
        sizes = np.bincount(components.ravel())[1:]
        largest = int(sizes.argmax())
        cleaned[box][components == largest + 1] = label
        others = np.delete(sizes, largest)
        removed = int(others.sum())
        reports.append(CleanedLabel(label, int(sizes[largest]), count, removed, int(others.max(initial=0))))
    return cleaned, reports


def label_box(mask: np.ndarray, labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """First index and last index plus one, each (D,), of the box around some labels; None where none of them occurs."""
    inside = np.isin(mask, list(labels))
    if not inside.any():
        return None
    ranges = []
    for axis in range(mask.ndim):
        line = np.flatnonzero(inside.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        ranges.append((int(line[0]), int(line[-1]) + 1))
    low, high = np.array(ranges).T
    return low, high


def edges_touched(mask: np.ndarray, label: int) -> bool:
    """Whether a label reaches the border of its map, so that the anatomy may go on outside."""
    found = label_box(mask, [label])
    return found is not None and bool((found[0] == 0).any() or (found[1] == mask.shape).any())
