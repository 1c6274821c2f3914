"""From a CT and its MR to the input of the network, one way for training and inference.

Channels: CT in windows of HU, T1, further modalities, where any of these sees; each 0 to 1. The grids are isotropic and
run along the axes of the patient (RAS), wherever the axes of the files point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from scipy import ndimage
from torch import Tensor

from .mr_registration import mr_level
from .shared.geometry.frames import box_grid, lps_to_ras, ras_to_lps
from .shared.geometry.grids import axis_order, resample_aligned, to_grid, volume_affine
from .shared.geometry.volume_box import cut_box, volume_bounds
from .shared.io.itk_images import grid_image, index_matrix, move_image, resample, to_sitk

Windows = Sequence[tuple[float, float]]  # lowest and highest HU of each channel that shows the CT

AIR_HU = -1024.0
BODY_HU = -400.0
BODY_GRID_MM = 4.0
BODY_MARGIN_MM = 12.0
MR_WHITE = 99.5  # percentile of the head that becomes 1
MR_SCALE = 255.0  # that becomes 1 where an MR is kept in bytes


def windowed(hu: Tensor, windows_hu: Windows) -> Tensor:
    """HU (1, *) in every window, (len(windows_hu), *) float32 from 0 to 1."""
    return torch.cat([((hu.float() - low) / (high - low)).clamp(0, 1) for low, high in windows_hu])


def body_bounds(ct: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (3,) in RAS mm of the patient in a CT, with a margin; of the whole CT where none is.

    The couch is thin and mostly hollow: an opening parts it from the patient, of whom the largest piece counts. Along z
    every slice counts that holds anything between the sides of that piece: the opening takes away what is narrow, such
    as the spinal cord where a CT is blanked around it.
    """
    low, high = volume_bounds(ct)
    small = to_grid(ct, BODY_GRID_MM)
    dense = small.as_tensor()[0].cpu().numpy() > BODY_HU
    parts, count = ndimage.label(ndimage.binary_opening(dense, iterations=2))
    if count == 0:
        return low, high
    sides = ndimage.find_objects((parts == np.bincount(parts.ravel())[1:].argmax() + 1).astype(np.uint8))[0][:2]
    slices = np.flatnonzero(dense[sides].any(axis=(0, 1)))
    origin = volume_affine(small)[:3, 3]
    first = np.array([*(side.start for side in sides), slices[0]])
    last = np.array([*(side.stop for side in sides), slices[-1] + 1])
    return (
        np.maximum(low, origin + (first - 0.5) * BODY_GRID_MM - BODY_MARGIN_MM),
        np.minimum(high, origin + (last - 0.5) * BODY_GRID_MM + BODY_MARGIN_MM),
    )


def as_volume(image: sitk.Image) -> MetaTensor:
    """SimpleITK image as (1, X, Y, Z) with its affine to RAS mm."""
    array = np.ascontiguousarray(sitk.GetArrayFromImage(image).T)
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.as_tensor(lps_to_ras(index_matrix(image))))


def aligned_image(mr: sitk.Image, matrix: np.ndarray) -> MetaTensor:
    """An MR or another modality as (2, X, Y, Z) float32 in the world of the CT: brightness 0 to 1, ones where it sees.

    Its grid is moved by a matrix (4, 4) in LPS mm, its voxels stay as they are. Air becomes 0 and the brightest half
    percent of the head 1.
    """
    volume = as_volume(move_image(sitk.Cast(mr, sitk.sitkFloat32), matrix))
    level = mr_level(mr)
    values = volume.as_tensor()
    head = values[values > level]
    white = float(np.percentile(head[:: max(1, len(head) // 200_000)].numpy(), MR_WHITE)) if len(head) else level + 1
    dark = float(values.min())
    scaled = ((values - dark) / max(white - dark, 1e-6)).clamp(0, 1)
    return MetaTensor(torch.cat([scaled, torch.ones_like(scaled)]), affine=volume.affine)


def outside(
    affine: np.ndarray, shape: tuple[int, ...], order: tuple[int, ...], grid: np.ndarray, size: tuple
) -> Tensor:
    """bool (*size): voxels of a RAS grid (4, 4) beyond the edges of an axis-aligned volume (affine, shape)."""
    beyond = torch.zeros(size, dtype=torch.bool)
    for axis in range(3):
        step, count = affine[axis, order[axis]], shape[order[axis]]
        index = (grid[axis, 3] + np.arange(size[axis]) * grid[axis, axis] - affine[axis, 3]) / step
        view = [1, 1, 1]
        view[axis] = size[axis]
        beyond |= torch.as_tensor((index < -0.5) | (index > count - 0.5)).view(view)
    return beyond


def on_grid(volume: MetaTensor, affine: np.ndarray, size: tuple[int, ...], fill: float) -> Tensor:
    """A volume (C, X, Y, Z) on an isotropic RAS grid (4, 4), smoothed where it is reduced: (C, *size) float32."""
    spacing = float(affine[0, 0])
    part = cut_box(volume, affine[:3, 3] - spacing, affine[:3, 3] + np.array(size) * spacing)
    own, shape = volume_affine(part), tuple(int(n) for n in part.shape[1:])
    order = axis_order(own, shape)
    if order is not None:
        beyond = outside(own, shape, order, affine, size)
        channels = [resample_aligned(channel, own, order, affine, size, False) for channel in part.as_tensor()]
        return torch.stack([channel.masked_fill(beyond, fill) for channel in channels])
    target = grid_image(ras_to_lps(affine), size)
    images = [resample(to_sitk(channel.cpu().numpy(), own), target, fill) for channel in part.as_tensor()]
    return torch.from_numpy(np.stack([sitk.GetArrayFromImage(image).T for image in images]))


def other_channels(volumes: Sequence[MetaTensor | None], affine: np.ndarray, size: tuple[int, ...]) -> Tensor:
    """Modalities beside the CT on a grid.

    Args:
        volumes: as :func:`aligned_image` gives them, None for one that is not there.
        affine: (4, 4) of an isotropic RAS grid.
        size: of the grid.

    Returns:
        (len(volumes) + 1, *size) float32: each from 0 to 1, 0 outside of its field of view; then 1 where any of them
        sees, 0 elsewhere.
    """
    channels, seen = [], torch.zeros(1, *size)
    for volume in volumes:
        if volume is None:
            channels.append(torch.zeros(1, *size))
            continue
        moved = on_grid(volume, affine, size, 0.0)
        inside = (moved[1:] > 0.5).float()
        channels.append(moved[:1].clamp(0, 1) * inside)
        seen = torch.maximum(seen, inside)
    return torch.cat([*channels, seen])


def masked_channels(stored: Tensor) -> Tensor:
    """What :func:`other_channels` gave, float32, from the bytes (C, *) that were kept of it, perhaps interpolated."""
    values = stored.float() / MR_SCALE
    seen = (values[-1:] > 0.5).float()
    return torch.cat([values[:-1] * seen, seen])


def network_input(
    ct: MetaTensor,
    others: Sequence[MetaTensor | None],
    affine: np.ndarray,
    size: tuple[int, ...],
    windows_hu: Windows,
) -> Tensor:
    """Input of the network on a grid.

    Args:
        ct: (1, X, Y, Z) HU in any orientation.
        others: the MR and further modalities, as :func:`other_channels` takes them.
        affine: (4, 4) of an isotropic RAS grid.
        size: of the grid.
        windows_hu: of the CT.

    Returns:
        (windows + len(others) + 1, *size) float32, 0 to 1.
    """
    windows = windowed(on_grid(ct, affine, size, AIR_HU), windows_hu)
    return torch.cat([windows, other_channels(others, affine, size)])


def working_grid(ct: MetaTensor, spacing_mm: float) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Isotropic RAS grid around the patient in a CT: affine (4, 4) and size."""
    return box_grid(*body_bounds(ct), spacing_mm)
