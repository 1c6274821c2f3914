"""Bones by threshold: marrow is filled, bones that touch are told apart, a bone with a neck stays one."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bundles.xray_ct_registration.scripts.bones import by_size, fill_slices, merge_basins, separate_bones


def ct_of(hu: np.ndarray, spacing: float = 1.5) -> sitk.Image:
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing([spacing] * 3)
    return image


def ball(shape: tuple[int, ...], center: tuple[float, ...], radius: float) -> np.ndarray:
    return sum((axis - c) ** 2 for axis, c in zip(np.ogrid[tuple(map(slice, shape))], center, strict=True)) <= radius**2


def test_hollow_bones_that_touch_are_two_and_filled():
    shape = (50, 50, 70)
    hu = np.full(shape, 40.0)
    solid = [ball(shape, (25, 25, 18), 15), ball(shape, (25, 25, 45), 13)]
    for bone in solid:
        hu[bone] = 1000
    for bone in solid:
        hu[ndimage.binary_erosion(bone, iterations=3)] = 0  # marrow
    hu += np.random.default_rng(0).normal(0, 20, shape)
    labels = sitk.GetArrayFromImage(separate_bones(ct_of(hu)))
    assert set(np.unique(labels)) == {0, 1, 2}
    for label, bone in zip((1, 2), solid, strict=True):
        own = labels == label
        assert 2 * (own & bone).sum() / (own.sum() + bone.sum()) > 0.9
    assert labels[25, 25, 18] == 1 and labels[25, 25, 45] == 2, "marrow is not filled"


def test_a_head_on_its_neck_is_one_bone():
    shape = (40, 40, 70)
    hu = np.full(shape, 40.0)
    hu[ball(shape, (20, 20, 16), 12) | ball(shape, (20, 20, 50), 12)] = 900
    hu[12:29, 12:29, 16:50] = 900
    assert set(np.unique(sitk.GetArrayFromImage(separate_bones(ct_of(hu))))) == {0, 1}


def test_no_bone_gives_an_empty_map():
    labels = separate_bones(ct_of(np.full((20, 20, 20), 40.0)))
    assert sitk.GetArrayFromImage(labels).sum() == 0


def test_large_holes_stay_open():
    ring = np.zeros((5, 60, 60), bool)
    ring[:, 5:55, 5:55] = True
    ring[:, 10:50, 10:50] = False
    assert not fill_slices(ring, 1000.0)[2, 30, 30]
    assert fill_slices(ring, 2000.0)[2, 30, 30]


def test_basins_join_over_a_high_pass_alone():
    depth = np.array([[1.0, 3, 6, 3, 1, 4, 5, 4.5, 8, 2]])
    basins = np.array([[1, 1, 1, 1, 1, 2, 2, 3, 3, 3]])
    merged = merge_basins(basins, depth, 0.6)
    assert merged[0, 5] == merged[0, 9] != merged[0, 0]
    assert merge_basins(basins, depth, 0.95)[0, 5] != merge_basins(basins, depth, 0.95)[0, 9]


def test_small_regions_are_left_out():
    regions = np.array([5, 5, 5, 2, 2, 2, 2, 9, 0, 0])
    assert by_size(regions, 2, 9).tolist() == [2, 2, 2, 1, 1, 1, 1, 0, 0, 0]
    assert by_size(regions, 1, 1).tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
