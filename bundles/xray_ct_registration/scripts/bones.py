"""Bones of a CT without a trained model: threshold, fill, split where they touch."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from skimage.segmentation import watershed

from .shared.io.itk_images import aligned_grid, resample

LARGEST_HOLE_MM2 = 1500.0  # the marrow of a femoral neck is a hole of 1000 mm2; a pelvic cavity has ten times that


def fill_slices(mask: np.ndarray, largest: float) -> np.ndarray:
    """Fill the holes of every slice along each axis in turn.

    Marrow that opens to the edge of the image in one direction is closed in by cortex in another.

    Args:
        mask: (Z, Y, X) bool.
        largest: area in pixels up to which a hole is filled.
    """
    for axis in range(mask.ndim):
        filled = np.moveaxis(mask.copy(), axis, 0)  # a view: what is written there is in the copy
        for part in filled:
            holes, count = ndimage.label(~part)
            fill = np.bincount(holes.ravel()) <= largest
            fill[0] = False
            fill[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
            if count:
                part |= fill[holes]
        mask = np.moveaxis(filled, 0, axis)
    return mask


def basin_saddles(basins: np.ndarray, depth: np.ndarray) -> dict[tuple[int, int], float]:
    """Height of the highest pass between each two neighbouring basins of a watershed.

    Args:
        basins: numbered from 1; 0 is outside.
        depth: distance to the outside, of the same shape.
    """
    pairs, heights = [], []
    for axis in range(basins.ndim):
        index, level = np.moveaxis(basins, axis, 0), np.moveaxis(depth, axis, 0)
        first, second = index[:-1], index[1:]
        border = (first != second) & (first > 0) & (second > 0)
        pairs.append(np.sort(np.stack([first[border], second[border]], axis=1), axis=1))
        heights.append(np.minimum(level[:-1][border], level[1:][border]))
    all_pairs, all_heights = np.concatenate(pairs), np.concatenate(heights)
    order = np.argsort(all_heights, kind="stable")
    # Later entries win: those are the highest.
    return {(int(p), int(q)): float(h) for (p, q), h in zip(all_pairs[order], all_heights[order], strict=True)}


def merge_basins(basins: np.ndarray, depth: np.ndarray, neck: float) -> np.ndarray:
    """Join basins whose pass is at least ``neck`` times as deep as the shallower of the two.

    Returns:
        the basins, renumbered by the first of each joined group.
    """
    peaks = np.concatenate([[0.0], ndimage.maximum(depth, basins, np.arange(1, basins.max() + 1))])
    parent = np.arange(len(peaks))

    def root(index: int) -> int:
        while parent[index] != index:
            index = int(parent[index])
        return index

    for (p, q), height in sorted(basin_saddles(basins, depth).items(), key=lambda item: -item[1]):
        p, q = root(p), root(q)
        if p != q and height >= neck * min(peaks[p], peaks[q]):
            low, high = (p, q) if peaks[p] < peaks[q] else (q, p)
            parent[low] = high
    return np.array([root(index) for index in range(len(parent))])[basins]


def by_size(regions: np.ndarray, smallest: int, most: int) -> np.ndarray:
    """Renumber regions from 1, the largest first; small ones and those beyond the ``most`` largest become 0. uint8."""
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    order = [index for index in np.argsort(-sizes, kind="stable")[:most] if sizes[index] >= smallest]
    numbers = np.zeros(len(sizes), dtype=np.uint8)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[regions]


def separate_bones(
    ct: sitk.Image,
    threshold_hu: float = 200.0,
    spacing_mm: float = 1.5,
    neck: float = 0.6,
    smallest_mm3: float = 1000.0,
    most: int = 250,
) -> sitk.Image:
    """Label map of the bones of a CT, the largest one 1, the next 2, and so on.

    Voxels above the threshold are taken, marrow is filled slice by slice, and bones that touch are split by a watershed
    of the distance to their surface, of which basins are joined again unless the neck between them is thin. A femur
    comes apart from the pelvis, even where the joint space is not resolved. Metal and contrast medium count as bone;
    low-dose noise, osteoporosis and thin plates such as the shoulder blade need another threshold or a segmentation of
    better origin.

    Args:
        ct: HU.
        threshold_hu: lower limit of bone.
        spacing_mm: of the cubic voxels in which the work is done.
        neck: bones are one where the neck is thicker than this fraction of the thinner one.
        smallest_mm3: smaller pieces are left out.
        most: number of bones.

    Returns:
        uint8 labels on the grid of the CT.
    """
    work = aligned_grid(ct, spacing_mm)  # the same axes, so that slices of the one are slices of the other
    values = sitk.GetArrayFromImage(resample(ct, work))
    mask = ndimage.gaussian_filter(values, 0.5) > threshold_hu
    mask = fill_slices(mask, LARGEST_HOLE_MM2 / spacing_mm**2)
    mask = ndimage.binary_opening(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    # The edge of the image counts as surface: a head that it cuts through would else be deeper than its neck.
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    depth = ndimage.gaussian_filter(depth, 1.0)
    regions = merge_basins(watershed(-depth, mask=mask), depth, neck)
    labels = sitk.GetImageFromArray(by_size(regions, int(smallest_mm3 / spacing_mm**3), most))
    labels.CopyInformation(work)
    return resample(labels, ct, fill=0, labels=True)
