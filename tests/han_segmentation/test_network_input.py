"""Input of the network: a point of the patient has the same place in every orientation, CT and MR lie on each other."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from bundles.han_segmentation.scripts.network_input import (
    AIR_HU,
    aligned_image,
    as_volume,
    body_bounds,
    network_input,
    on_grid,
    windowed,
    working_grid,
)
from shared.io.itk_images import to_sitk
from tests.han_segmentation.heads import NUMBERS, TABLE, head

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ct_in(codes: str) -> MetaTensor:
    return as_volume(sitk.DICOMOrient(to_sitk(head().ct, head().affine), codes))


def world(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ index + affine[:3, 3]


def test_windows() -> None:
    hu = torch.tensor([[-2000.0, -160.0, 40.0, 240.0, 500.0, 3000.0]])
    soft, bone, _ = windowed(hu, TABLE.windows_hu)
    assert soft.tolist() == [0, 0, 0.5, 1, 1, 1] and bone[-2] == 0.5 and float(bone.max()) == 1 and bone[0] == 0


def test_every_orientation_gives_the_same_input() -> None:
    affine, size = working_grid(ct_in("RAS"), 5.0)
    reference = network_input(ct_in("RAS"), [None], affine, size, TABLE.windows_hu)
    assert reference.shape == (5, *size) and float(reference[-2:].abs().max()) == 0
    for codes in ("LPS", "PIR", "SAL"):
        again, same = working_grid(ct_in(codes), 5.0)
        assert same == size and np.allclose(again, affine, atol=1e-3)
        torch.testing.assert_close(
            network_input(ct_in(codes), [None], affine, size, TABLE.windows_hu), reference, atol=1e-3, rtol=0
        )


def test_a_bright_point_keeps_its_place_when_reduced_and_when_enlarged() -> None:
    array = np.full((30, 32, 40), AIR_HU, np.float32)
    array[12, 20, 25] = 1000
    affine = np.array([[0, -2.0, 0, 50], [-1.5, 0, 0, 20], [0, 0, 3.0, -40], [0, 0, 0, 1]])
    volume = MetaTensor(torch.from_numpy(array)[None], affine=torch.as_tensor(affine))
    place = world(affine, np.array([12, 20, 25]))
    for spacing in (1.0, 4.0):
        grid = np.diag([spacing, spacing, spacing, 1.0])
        grid[:3, 3] = place - spacing * np.array([7, 8, 9])
        values = on_grid(volume, grid, (16, 16, 16), AIR_HU)[0]
        assert np.unravel_index(int(values.argmax()), (16, 16, 16)) == (7, 8, 9)
    away = grid.copy()
    away[:3, 3] += 500
    assert bool((on_grid(volume, away, (4, 4, 4), AIR_HU) == AIR_HU).all())


def test_the_body_is_cropped_to_without_the_couch() -> None:
    ct = ct_in("LPS")
    low, high = body_bounds(ct)
    marks = np.argwhere(head().labels > 0)
    organs = np.array([world(head().affine, index) for index in (marks.min(axis=0), marks.max(axis=0))])
    assert (low <= organs[0]).all() and (high >= organs[1]).all()
    size = np.array(head().ct.shape) * 4.0
    assert ((high - low)[:2] < size[:2]).any(), "air and couch are left out"
    empty = MetaTensor(torch.full_like(ct.as_tensor(), AIR_HU), affine=ct.affine)
    assert np.allclose(np.subtract(*body_bounds(empty)[::-1]), size, atol=1e-3)


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
def test_a_narrow_part_beyond_the_cut_body_is_not_cut_off(codes: str) -> None:
    x, y, z = (int(n) for n in np.argwhere(head().labels == NUMBERS["SpinalCord"]).mean(axis=0))
    slab = head().ct.copy()
    slab[..., : z - 4], slab[..., z + 5 :] = AIR_HU, AIR_HU  # as where a CT is blanked outside of the dose
    tube = slab.copy()
    tube[x - 1 : x + 2, y - 1 : y + 2, 2:-2] = 40.0
    ends = [world(head().affine, np.array([x, y, k]))[2] for k in (2, tube.shape[-1] - 3)]
    low, high = body_bounds(as_volume(sitk.DICOMOrient(to_sitk(tube, head().affine), codes)))
    margin = 8.0  # mm, of the 10 that there are between the last filled voxels and the edges of the CT
    assert low[2] < min(ends) - margin and high[2] > max(ends) + margin
    low, high = body_bounds(as_volume(sitk.DICOMOrient(to_sitk(slab, head().affine), codes)))
    assert low[2] > min(ends) and high[2] < max(ends), "empty slices are left out"


@pytest.mark.parametrize("codes", ["RAS", "PIR"])
def test_the_mr_lies_on_the_ct_and_is_masked(codes: str) -> None:
    phantom = head()
    assert phantom.mr is not None
    mr = sitk.DICOMOrient(to_sitk(phantom.mr, phantom.mr_affine), codes)
    volume = aligned_image(mr, LPS @ phantom.mr_to_ct @ LPS)
    affine, size = working_grid(ct_in("RAS"), 4.0)
    image = network_input(ct_in("RAS"), [volume], affine, size, TABLE.windows_hu)
    mr, seen = image[-2:]
    assert set(seen.unique().tolist()) == {0.0, 1.0} and 0.05 < float(seen.mean()) < 0.95
    assert not mr[seen == 0].any() and 0.8 < float(mr.max()) <= 1
    # bone is dark in T1, fat bright: the head of the MR fills that of the CT
    tissue = (image[0] > 0.2) & (seen > 0)
    air = (image[1] < 0.05) & (seen > 0)
    assert float(mr[tissue].mean()) > 5 * float(mr[air].mean())


def test_a_further_modality_counts_where_it_sees_with_and_without_an_mr() -> None:
    """Two images of half of the head each: the last channel is where any of them sees."""
    affine, size = working_grid(ct_in("RAS"), 5.0)
    halves = []
    for part in (slice(0, 20), slice(20, None)):
        image = to_sitk(head().ct.astype(np.float32), head().affine)[part]
        halves.append(aligned_image(image, np.eye(4)))
    both = network_input(ct_in("RAS"), halves, affine, size, TABLE.windows_hu)
    alone = network_input(ct_in("RAS"), [None, halves[1]], affine, size, TABLE.windows_hu)
    assert both.shape[0] == alone.shape[0] == len(TABLE.windows_hu) + 3
    first, second, seen = both[-3:]
    assert not (first * second).any() and bool((first + second > 0).any()) and set(seen.unique().tolist()) <= {0.0, 1.0}
    assert not alone[-3].any() and torch.equal(alone[-2], second) and 0 < float(alone[-1].sum()) < float(seen.sum())
