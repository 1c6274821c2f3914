"""Similarity of detector images: definitions, stated ranges, gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_mutual_information
from skimage.metrics import structural_similarity as skimage_ssim
from torch import Tensor

from shared.drr.similarity import (
    box_sum,
    gradient_ncc,
    mean_squared_error,
    multiscale_ncc,
    mutual_information,
    ncc,
    patch_ncc,
    structural_similarity,
)

F64 = torch.float64
CORRELATIONS: list[Callable[..., Tensor]] = [ncc, patch_ncc, multiscale_ncc, gradient_ncc]


def texture(seed: int, batch: int = 2, rows: int = 40, columns: int = 52) -> Tensor:
    """Smooth random images (B, 1, rows, columns) float64."""
    noise = torch.randn(batch, 1, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2) + 0.1 * noise


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9, 16])
def test_box_sums_are_sums(size: int) -> None:
    image = texture(0)
    expected = torch.nn.functional.avg_pool2d(image, size, stride=1) * size**2
    assert torch.allclose(box_sum(image, size), expected)
    assert torch.autograd.gradcheck(lambda x: box_sum(x, size), (texture(1, 1, 16, 17).requires_grad_(),))


def test_window_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="windows of 9"):
        patch_ncc(texture(0, 1, 8, 20), texture(1, 1, 8, 20))


def test_ncc_is_pearsons() -> None:
    a, b = texture(2), texture(3) + 0.5 * texture(2)
    expected = [np.corrcoef(x.numpy().ravel(), y.numpy().ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ncc(a, b).numpy(), expected, rtol=1e-9)


def test_patch_ncc_is_the_mean_of_pearsons() -> None:
    a, b = texture(4, 1, 14, 13), texture(5, 1, 14, 13) + texture(4, 1, 14, 13)
    x, y = (np.lib.stride_tricks.sliding_window_view(image[0, 0].numpy(), (9, 9)).reshape(-1, 81) for image in (a, b))
    expected = np.mean([np.corrcoef(p, q)[0, 1] for p, q in zip(x, y, strict=True)])
    assert patch_ncc(a, b).item() == pytest.approx(expected, rel=1e-6)
    assert multiscale_ncc(a, b).item() == pytest.approx((expected + ncc(a, b).item()) / 2, rel=1e-6)


@pytest.mark.parametrize("function", CORRELATIONS)
def test_correlations_have_their_range_and_invariance(function: Callable[..., Tensor]) -> None:
    a, b = texture(6).float(), texture(7).float()
    assert torch.allclose(function(a, a), torch.ones(2), atol=1e-4)
    assert torch.allclose(function(a, -2 * a + 7), -torch.ones(2), atol=1e-4)
    assert (function(a, b).abs() < 0.5).all()
    assert torch.allclose(function(a, 1000 * b + 1e4), function(a, b), atol=2e-3)
    assert torch.allclose(function(a, b), function(b, a), atol=1e-6)


@pytest.mark.parametrize("function", [*CORRELATIONS, mean_squared_error, structural_similarity])
def test_losses_have_gradients(function: Callable[..., Tensor]) -> None:
    a, b = texture(8, 2, 15, 14).requires_grad_(), texture(9, 2, 15, 14)
    assert torch.autograd.gradcheck(lambda x: function(x, b), (a,), atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("function", CORRELATIONS)
def test_constant_images_correlate_with_nothing(function: Callable[..., Tensor]) -> None:
    image, constant = texture(10).float(), torch.full((2, 1, 40, 52), 3.3, requires_grad=True)
    value = function(constant, image)
    assert torch.equal(value, torch.zeros(2))
    (gradient,) = torch.autograd.grad(value.sum(), [constant])
    assert torch.equal(gradient, torch.zeros_like(constant))


@pytest.mark.parametrize("function", CORRELATIONS)
def test_mask_leaves_out_what_it_covers(function: Callable[..., Tensor]) -> None:
    a, b = texture(11, 1), texture(11, 1)
    b[..., :12] = 50 * texture(12, 1)[..., :12]
    mask = torch.ones(1, 1, 40, 52)
    mask[..., :12] = 0
    assert function(a, b).item() < 0.95
    inside = function(a, b, mask=mask).item()
    # patches that the border of the mask cuts through are standardised over their visible part, so all of it is equal
    assert inside == pytest.approx(1.0, abs=1e-3)


def test_one_target_serves_a_batch() -> None:
    a, target = texture(13, 3), texture(14, 1)
    functions: list[Callable[..., Tensor]] = [*CORRELATIONS, mean_squared_error, structural_similarity]
    for function in [*functions, mutual_information]:
        together = function(a, target)
        alone = torch.cat([function(one[None], target) for one in a])
        if function is not structural_similarity:  # its range is that of all images
            assert torch.allclose(together, alone)
        assert together.shape == (3,)


def test_ssim_and_mutual_information_are_skimages() -> None:
    a, b = texture(15, 1), texture(15, 1) + 0.3 * texture(16, 1)
    span = float(max(a.max(), b.max()) - min(a.min(), b.min()))
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=span)
    expected = skimage_ssim(a[0, 0].numpy(), b[0, 0].numpy(), full=True, **options)[1][5:-5, 5:-5].mean()
    assert structural_similarity(a, b).item() == pytest.approx(expected, abs=1e-4)
    expected = normalized_mutual_information(a[0, 0].numpy(), b[0, 0].numpy())
    assert mutual_information(a, b).item() == pytest.approx(expected, abs=1e-9)


def test_mutual_information_has_its_range() -> None:
    a = texture(17, 1, 200, 200)
    assert mutual_information(a, a).item() == pytest.approx(2)
    assert mutual_information(a, a.exp()).item() > mutual_information(a, texture(18, 1, 200, 200)).item()
    assert 1 <= mutual_information(a, texture(18, 1, 200, 200), bins=8).item() < 1.01
    assert mutual_information(torch.ones(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)).item() == 2


def test_structural_similarity_uses_one_range_for_both() -> None:
    a, b = texture(19).float(), texture(20).float()
    assert torch.allclose(structural_similarity(a, b), structural_similarity(b, a))
    assert torch.allclose(structural_similarity(a, a), torch.ones(2))
    assert torch.allclose(structural_similarity(3 * a, 3 * b), structural_similarity(a, b), atol=1e-5)


def test_mean_squared_error() -> None:
    a = texture(21)
    assert torch.allclose(mean_squared_error(a, a + 0.5), torch.full((2,), 0.25, dtype=F64))


def test_images_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        ncc(texture(0), texture(0)[..., 1:])
