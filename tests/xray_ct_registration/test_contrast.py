"""The contrast curve undoes what a console did to the contrast, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundles.xray_ct_registration.scripts.contrast import contrast_curve, curve_basis
from bundles.xray_ct_registration.scripts.views import BORDER_PX, exposed, make_view
from shared.drr.similarity import ncc, patch_ncc
from tests.xray_ct_registration.patient import DETECTOR, a_pose, view_at


def test_basis_is_increasing() -> None:
    values = curve_basis(np.linspace(0, 1, 50))
    assert (np.diff(values, axis=0) >= 0).all()


@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.0, 1.4, 2.0])
def test_gamma_is_undone(gamma: float) -> None:
    true = view_at(a_pose(1))
    low, high = true.image.min(), true.image.max()
    shown = make_view((((true.image - low) / (high - low)) ** gamma)[0, 0], DETECTOR)
    curve = contrast_curve(shown, true.image)
    assert curve is not None
    again = curve(shown)
    assert float(patch_ncc(again.image, true.image, 9, shown.mask)) > 0.99
    assert float(ncc(again.image, true.image, shown.mask)) > max(0.998, float(ncc(shown.image, true.image)) - 1e-3)


def test_curve_is_increasing_and_keeps_the_mask() -> None:
    view = view_at(a_pose(1))
    curve = contrast_curve(view, view.image**2)
    assert curve is not None
    again = curve(view)
    order = view.image.flatten().argsort()
    assert bool((again.image.flatten()[order].diff() >= -1e-6).all())
    assert torch.equal(again.mask, view.mask) and again.detector == view.detector


def test_an_inverted_picture_gets_no_curve() -> None:
    view = view_at(a_pose(1))
    assert contrast_curve(view, -view.image) is None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_blade_of_one_pixel_does_not_count(value: float) -> None:
    image = torch.rand(128, 128, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    image[:, 0] = value
    mask = exposed(image)
    assert not bool(mask[:, :BORDER_PX].any())
    assert float(mask.float().mean()) > 0.8
