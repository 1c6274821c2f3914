"""A volume is consistent with its own X-rays and not with others."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from bundles.xray_to_ct_clustering.scripts.hounsfield import hu_to_intensity, intensity_to_hu
from bundles.xray_to_ct_clustering.scripts.reprojection import ReprojectionLoss
from shared.networks.clustering import BiplanarGeometry

GEOMETRY = BiplanarGeometry(rows=24, columns=20, pixel_mm=12.0)
VOXEL_MM = 15.0


def patient(shift: int = 0) -> Tensor:
    """Intensities (1, 1, 12, 10, 12) of water with a bone, in air."""
    hu = torch.full((1, 1, 12, 10, 12), -1000.0)
    hu[..., 2:10, 2:8, 2:10] = 0.0
    hu[..., 3 + shift : 5 + shift, 3:5, 3:8] = 800.0
    return hu_to_intensity(hu)


def test_a_volume_agrees_with_its_own_images_at_any_contrast() -> None:
    loss = ReprojectionLoss(GEOMETRY, VOXEL_MM)
    images = loss.render(patient())
    assert images.shape == (1, 2, 24, 20)
    own = loss.similarity(patient(), 0.3 * images + 7)
    other = loss.similarity(patient(shift=4), images)
    assert float(own.min()) > 0.99 * float(loss.similarity(patient(), images).min()) > 0
    assert float(other[0, 0]) < float(own[0, 0]) - 0.01  # the bone moved to the side, which the frontal view shows
    assert float(loss(patient(), images)) < float(loss(patient(shift=4), images))


def test_views_that_are_swapped_show() -> None:
    loss = ReprojectionLoss(GEOMETRY, VOXEL_MM)
    images = loss.render(patient())
    assert float(loss.similarity(patient(), images.flip(1)).max()) < float(loss.similarity(patient(), images).min())


def test_parallel_images_are_sums_along_the_axes() -> None:
    geometry = BiplanarGeometry(12, 12, VOXEL_MM, parallel=True)
    volume = torch.rand(1, 1, 12, 12, 12)
    frontal, lateral = ReprojectionLoss(geometry, VOXEL_MM).render(volume)[0]
    # images run from the patient's right, or from the front, and from the head
    sums = volume[0, 0].sum(1).flip(0, 1).T, volume[0, 0].sum(0).flip(0, 1).T
    for image, expected in zip((frontal, lateral), sums, strict=True):
        assert float(torch.corrcoef(torch.stack([image.flatten(), expected.flatten()]))[0, 1]) > 0.99


def test_the_gradient_reaches_the_volume() -> None:
    loss = ReprojectionLoss(GEOMETRY, VOXEL_MM, patches=(None,))
    images = loss.render(patient())
    volume = patient(shift=4).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(volume, images), volume)
    assert bool(gradient.isfinite().all())
    step = -0.05 * gradient / gradient.abs().max()
    assert float(loss(volume.detach() + step, images)) < float(loss(volume.detach(), images))


def test_every_case_of_a_batch_is_compared_with_its_own_images() -> None:
    loss = ReprojectionLoss(GEOMETRY, VOXEL_MM)
    volumes = torch.cat([patient(), patient(shift=4)])
    images = loss.render(volumes)
    matched, crossed = loss.similarity(volumes, images), loss.similarity(volumes, images.flip(0))
    assert bool((matched[:, 0] > crossed[:, 0]).all())


def test_images_of_another_size_are_refused() -> None:
    loss = ReprojectionLoss(dataclasses.replace(GEOMETRY, rows=16), VOXEL_MM)
    with pytest.raises(ValueError, match="16 x 20"):
        loss(patient(), torch.rand(1, 2, 24, 20))


def test_intensities_and_hounsfield_units() -> None:
    hu = torch.tensor([-1024.0, 226.0, 1476.0])
    assert torch.equal(hu_to_intensity(hu), torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(intensity_to_hu(hu_to_intensity(hu)), hu)
    assert hu_to_intensity(torch.tensor([-3000.0, 3000.0])).tolist() == [0.0, 1.0]
