"""From scores on a working grid back to labels on the grid of the CT, slab by slab.

The scores of all classes on all voxels of a CT would not fit into memory. They are not needed either: where the eight
voxels of the working grid around a place agree on their best class, that class wins at the place as well, because
trilinear interpolation is a weighted mean. Only the other places are interpolated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from .shared.geometry.frames import plain_tensor, transform_points
from .shared.geometry.grids import volume_affine

SLAB_VOXELS = 2_000_000
CHUNK_PLACES = 200_000  # that are interpolated at a time

Box = tuple[np.ndarray, np.ndarray]  # first index and last index plus one, (3,) each


def agreeing_cells(best: Tensor) -> Tensor:
    """Class of each cell between eight voxels where they agree, -1 elsewhere.

    Args:
        best: (X, Y, Z) integers.

    Returns:
        (X, Y, Z) int16; the cell of a voxel goes to the next one along each axis, the last one ends at the border.
    """
    cells = best.to(torch.int16).clone()
    for axis, size in enumerate(best.shape):
        following = torch.arange(1, size + 1, device=best.device).clamp(max=size - 1)
        after = cells.index_select(axis, following)
        cells = torch.where(cells == after, cells, torch.full_like(cells, -1))
    return cells


def interpolated_best(scores: Tensor, places: Tensor) -> Tensor:
    """Class with the highest trilinear score.

    Args:
        scores: (C, X, Y, Z).
        places: (N, 3) indices within the grid.

    Returns:
        (N,) int64.
    """
    count, *shape = scores.shape
    flat = scores.reshape(count, -1)
    last = torch.tensor(shape, device=places.device) - 1
    low = places.floor().long().clamp(min=0)
    low = torch.minimum(low, last)
    high = torch.minimum(low + 1, last)
    share = (places - low).clamp(0, 1)
    total = torch.zeros(count, len(places), device=scores.device)
    for corner in range(8):
        upper = torch.tensor([bool(corner >> axis & 1) for axis in range(3)], device=places.device)
        index = torch.where(upper, high, low)
        weight = torch.where(upper, share, 1 - share).prod(dim=1)
        position = (index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2]
        total += flat[:, position].float() * weight
    return total.argmax(dim=0)


def target_box(grid: np.ndarray, shape: tuple[int, ...], affine: np.ndarray, size: tuple[int, ...]) -> Box | None:
    """Voxels of a target grid (affine, size) that a working grid (grid, shape) covers; None where it covers none."""
    ends = np.array([[-0.5, n - 0.5] for n in shape])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = np.linalg.inv(affine) @ grid
    index = transform_points(matrix, corners)
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, size)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, 0, size)
    return None if (low >= high).any() else (low, high)


def foreground_box(best: Tensor, grid: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """Affine and shape of a working grid around its foreground, one voxel wider; None if empty."""
    found = torch.nonzero(best > 0)
    if not len(found):
        return None
    low = (found.min(dim=0).values - 1).clamp(min=0).cpu().numpy()
    high = torch.minimum(found.max(dim=0).values + 2, torch.tensor(best.shape)).cpu().numpy()
    part = grid.copy()
    part[:3, 3] = transform_points(grid, low)
    x, y, z = (int(n) for n in high - low)
    return part, (x, y, z)


def labels_in_box(scores: Tensor, cells: Tensor, matrix: np.ndarray, box: Box) -> np.ndarray:
    """Labels of the voxels of a box.

    Args:
        scores: (C, X, Y, Z).
        cells: of their best class, as :func:`agreeing_cells` gives them.
        matrix: (4, 4), indices of the target to indices of the scores.
        box: of the target.

    Returns:
        uint8, of the size of the box; 0 beyond the scores.
    """
    low, high = box
    steps = torch.as_tensor(matrix[:3, :3], dtype=torch.float32, device=scores.device)
    origin = torch.as_tensor(matrix[:3, 3], dtype=torch.float32, device=scores.device)
    axes = [
        torch.arange(int(a), int(b), dtype=torch.float32, device=scores.device) for a, b in zip(low, high, strict=True)
    ]
    plane = (axes[0][:, None, None] * steps[:, 0] + axes[1][None, :, None] * steps[:, 1]).reshape(-1, 3) + origin
    shape = torch.tensor(scores.shape[1:], device=scores.device)
    result = np.zeros(tuple(int(n) for n in high - low), np.uint8)
    depth = max(1, SLAB_VOXELS // len(plane))
    for first in range(0, len(axes[2]), depth):
        heights = axes[2][first : first + depth]
        places = (plane[:, None] + heights[:, None] * steps[:, 2]).reshape(-1, 3)
        cell = torch.minimum(places.floor().long().clamp(min=0), shape - 1)
        labels = cells[cell[:, 0], cell[:, 1], cell[:, 2]].clone()
        open_ = torch.nonzero(labels < 0)[:, 0]
        for part in open_.split(CHUNK_PLACES):
            labels[part] = interpolated_best(scores, places[part]).to(labels.dtype)
        labels[((places < -0.5) | (places > shape - 0.5)).any(dim=1)] = 0
        slab = labels.to(torch.uint8).cpu().numpy().reshape(*result.shape[:2], len(heights))
        result[:, :, first : first + len(heights)] = slab
    return result


def labels_on_grid(scores: Tensor, grid: np.ndarray, affine: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Class with the highest score at every voxel of another grid.

    Args:
        scores: (C, X, Y, Z), background first; probabilities rather than logits, whose means would overrate certainty.
        grid: (4, 4), their indices to RAS mm.
        affine: (4, 4) of the target.
        size: of the target.

    Returns:
        (*size) uint8; background beyond the scores.
    """
    result = np.zeros(size, np.uint8)
    best = scores.argmax(dim=0)
    part = foreground_box(best, grid)
    box = None if part is None else target_box(*part, affine, size)
    if box is None:
        return result
    matrix = np.linalg.inv(grid) @ affine
    inside = tuple(slice(int(a), int(b)) for a, b in zip(*box, strict=True))
    result[inside] = labels_in_box(scores, agreeing_cells(best), matrix, box)
    return result


class LabelsOnCtd(MapTransform):
    """Turn the logits of the working grid into a label map on the grid of the CT: the inverse of the preprocessing.

    Args:
        keys: logits (C, x, y, z), background first.
        image_key: input of the network with its affine.
        ct_key: the CT (1, X, Y, Z).

    The result is (1, X, Y, Z) uint8 with the metadata of the CT.
    """

    def __init__(self, keys: KeysCollection = "pred", image_key: str = "image", ct_key: str = "original") -> None:
        super().__init__(keys)
        self.image_key, self.ct_key = image_key, ct_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        ct: MetaTensor = output[self.ct_key]
        for key in self.key_iterator(output):
            logits = plain_tensor(output[key])
            grid = volume_affine(output[self.image_key])
            size = tuple(int(n) for n in ct.shape[1:])
            labels = labels_on_grid(logits.float().softmax(dim=0), grid, volume_affine(ct), size)
            output[key] = MetaTensor(torch.from_numpy(labels)[None], meta=dict(ct.meta))
        return output
