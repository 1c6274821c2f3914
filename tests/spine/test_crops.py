"""Crops: a known point in and found again, also at borders and outside."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundles.vertebrae_segmentation.scripts.vertebra_crops import vertebra_grid
from shared.geometry.frames import centred_grid
from shared.geometry.hounsfield import LOWEST_HU
from shared.spine.crops import sample_grid

AFFINE = np.array([[0, 0, -1.5, 40.0], [2.0, 0, 0, -30.0], [0, 1.0, 0, 100.0], [0, 0, 0, 1]])
SIZE = (30, 40, 50)


def field() -> MetaTensor:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SIZE], indexing="ij"), axis=-1)
    values = (index @ AFFINE[:3, :3].T + AFFINE[:3, 3]) @ [3.0, -1.0, 2.0]
    return MetaTensor(torch.as_tensor(values, dtype=torch.float32)[None], affine=torch.as_tensor(AFFINE))


def middle() -> np.ndarray:
    return AFFINE[:3, :3] @ ((np.array(SIZE) - 1) / 2) + AFFINE[:3, 3]


def test_values_of_the_crop_are_those_of_the_world() -> None:
    affine = centred_grid(middle(), (8, 9, 10), 1.3)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (8, 9, 10)], indexing="ij"), axis=-1)
    expected = (index @ affine[:3, :3].T + affine[:3, 3]) @ [3.0, -1.0, 2.0]
    assert np.abs(sample_grid(field(), affine, (8, 9, 10), LOWEST_HU)[0].numpy() - expected).max() < 1e-2


def test_vertebra_crop_is_centred_behind_the_body() -> None:
    affine = vertebra_grid([10.0, 20.0, 30.0], (4, 6, 8), 2.0, posterior_mm=20.0)
    centre = affine[:3, :3] @ [1.5, 2.5, 3.5] + affine[:3, 3]
    assert np.allclose(centre, [10.0, 0.0, 30.0])


def test_outside_is_filled() -> None:
    crop = sample_grid(field(), centred_grid([1e4, 0, 0], (4, 4, 4), 1.0), (4, 4, 4), LOWEST_HU)
    assert crop.shape == (1, 4, 4, 4) and (crop == LOWEST_HU).all()
    half = sample_grid(field(), centred_grid(AFFINE[:3, 3], (9, 9, 9), 1.0), (9, 9, 9), LOWEST_HU)
    assert (half == LOWEST_HU).any() and (half != LOWEST_HU).any()


def test_labels_are_nearest_and_keep_their_type() -> None:
    labels = MetaTensor(torch.randint(0, 29, (1, *SIZE), dtype=torch.uint8), affine=torch.as_tensor(AFFINE))
    crop = sample_grid(labels, centred_grid(middle(), (20, 20, 20), 0.7), (20, 20, 20), 0, labels=True)
    assert crop.dtype == torch.uint8 and set(crop.unique().tolist()) <= set(labels.unique().tolist())


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_grid_of_the_volume_itself_gives_its_values(dtype: torch.dtype) -> None:
    volume = MetaTensor(
        torch.arange(24).reshape(1, 2, 3, 4).to(dtype), affine=torch.as_tensor(np.diag([2.0, 2.0, 2.0, 1.0]))
    )
    crop = sample_grid(volume, np.diag([2.0, 2.0, 2.0, 1.0]), (2, 3, 4), 0.0)
    assert torch.allclose(crop, volume.as_tensor().float(), atol=1e-4)
