"""Similarity of detector images, tensors (B, C, rows, columns), one value per image (B,).

==============================  ============  ==========  ==============
function                        range         identical   differentiable
==============================  ============  ==========  ==============
`ncc`, `patch_ncc`              [-1, 1]       1           yes
`multiscale_ncc`                [-1, 1]       1           yes
`gradient_ncc`                  [-1, 1]       1           yes
`structural_similarity` (SSIM)  [-1, 1]       1           yes
`mean_squared_error` (MSE)      [0, inf)      0           yes
`mutual_information` (NMI)      [1, 2]        2           no
==============================  ============  ==========  ==============

The correlations do not change with brightness and contrast of either image. Where an image (or patch) is constant it
correlates with nothing: 0, with gradient 0. ``mask`` (B or 1, 1, rows, columns), 0 or 1 or weights between, leaves out
what is outside a collimator or covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor

# Variances below this share of the image's own variance count as zero: it is far above float32 rounding of the sums
# and far below the noise of any detector.
RELATIVE_EPS = 1e-5
SCALES = (None, 9)  # whole image and patches of 9 pixels, as in xvr


def _window_sums(image: Tensor, size: int) -> Tensor:
    """Sums over all ``size`` x ``size`` windows inside the image: (B, C, H, W) -> (B, C, H - size + 1, W - size + 1).

    Sums of 2, 4, 8 … neighbours are added up (log2(size) additions per pixel and direction), without the cancellation
    of running sums.
    """
    for dim in (-1, -2):
        count = image.shape[dim] - size + 1
        power, width, taken, result, rest = image, 1, 0, None, size
        while rest:
            if rest & 1:
                part = power.narrow(dim, taken, count)
                result = part if result is None else result + part
                taken += width
            rest >>= 1
            if rest:
                length = power.shape[dim] - width
                power = power.narrow(dim, 0, length) + power.narrow(dim, width, length)
                width *= 2
        assert result is not None
        image = result
    return image


class _BoxSum(torch.autograd.Function):
    """`_window_sums` with its adjoint, the box sum of the padded gradient, as backward."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, size: int) -> Tensor:
        ctx.size = size
        return _window_sums(image, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _BoxSum.apply(F.pad(gradient, (ctx.size - 1,) * 4), ctx.size), None


def box_sum(image: Tensor, size: int) -> Tensor:
    """Sums over all windows of ``size`` pixels: (B, C, H, W) -> (B, C, H - size + 1, W - size + 1); differentiable.

    Raises:
        ValueError: where the image is smaller than the window.
    """
    if size < 1 or min(image.shape[-2:]) < size:
        raise ValueError(f"windows of {size} pixels in an image of {tuple(image.shape[-2:])}")
    return _BoxSum.apply(image, size)


def _whole_sum(image: Tensor) -> Tensor:
    return image.sum(dim=(-1, -2), keepdim=True)


def _check(first: Tensor, second: Tensor) -> None:
    if first.ndim != 4 or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"images have to be (B, C, rows, columns) alike, got {tuple(first.shape)} and {tuple(second.shape)}"
        )


def _standardized(image: Tensor, mask: Tensor | None) -> Tensor:
    """The image with mean 0 and variance 1, or all 0: keeps sums accurate and thresholds relative."""

    def mean(values: Tensor) -> Tensor:
        if mask is None:
            return values.mean(dim=(-1, -2), keepdim=True)
        return _whole_sum(mask * values) / _whole_sum(mask).clamp(min=torch.finfo(values.dtype).tiny)

    centred = image - mean(image)
    variance = mean(centred**2)
    constant = variance <= torch.finfo(image.dtype).eps ** 2 * mean(image**2)
    return centred * (torch.where(constant, 1, variance).rsqrt() * ~constant)


def _correlation(a: Tensor, b: Tensor, mask: Tensor | None, size: int | None) -> Tensor:
    """Mean correlation (B,) of standardised images over windows of ``size`` (None: the whole image).

    Windows count by their share of the mask.
    """

    def sums(values: Tensor) -> Tensor:
        return _whole_sum(values) if size is None else box_sum(values, size)

    weigh = (lambda values: values) if mask is None else (lambda values: mask * values)
    count = sums(torch.ones_like(a[:1, :1]) if mask is None else mask)
    n = torch.where(count > 0, count, 1)
    weighted_a, weighted_b = weigh(a), weigh(b)
    moments = [weighted_a, weighted_b, weighted_a * a, weighted_b * b, weighted_a * b]
    mean_a, mean_b, aa, bb, ab = (sums(moment) / n for moment in moments)
    variance_a, variance_b = aa - mean_a**2, bb - mean_b**2
    varies = (variance_a > RELATIVE_EPS) & (variance_b > RELATIVE_EPS)
    scale = torch.where(varies, variance_a * variance_b, 1).rsqrt()
    correlation = torch.where(varies, (ab - mean_a * mean_b) * scale, 0).clamp(-1, 1)
    share = count.expand_as(correlation)
    return (share * correlation).flatten(1).sum(1) / share.flatten(1).sum(1).clamp(min=torch.finfo(a.dtype).tiny)


def multiscale_ncc(
    first: Tensor, second: Tensor, sizes: Sequence[int | None] = SCALES, mask: Tensor | None = None
) -> Tensor:
    """Mean of `ncc` (size None) and `patch_ncc` over the ``sizes``, (B,) in [-1, 1].

    xvr: Gopalakrishnan et al., "Rapid patient-specific neural networks for intraoperative X-ray to volume
        registration", 2025.
    """
    _check(first, second)
    weight = None if mask is None else mask.to(first)
    a, b = _standardized(first, weight), _standardized(second, weight)
    return torch.stack([_correlation(a, b, weight, size) for size in sizes]).mean(0)


def ncc(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Normalised cross-correlation (Pearson) over the whole image, mean over channels, (B,) in [-1, 1]."""
    return multiscale_ncc(first, second, [None], mask)


def patch_ncc(first: Tensor, second: Tensor, size: int = 9, mask: Tensor | None = None) -> Tensor:
    """Mean normalised cross-correlation over all patches of ``size`` pixels, (B,) in [-1, 1].

    Constant patches count as 0, so the value of two identical images is the share of patches that are not constant.
    """
    return multiscale_ncc(first, second, [size], mask)


def gradient_images(image: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel derivatives of (B, C, H, W) along columns and rows, both (B, C, H - 2, W - 2), per pixel."""

    def smooth(x: Tensor, dim: int) -> Tensor:
        n = x.shape[dim] - 2
        return (x.narrow(dim, 0, n) + 2 * x.narrow(dim, 1, n) + x.narrow(dim, 2, n)) / 4

    def slope(x: Tensor, dim: int) -> Tensor:
        n = x.shape[dim] - 2
        return (x.narrow(dim, 2, n) - x.narrow(dim, 0, n)) / 2

    return smooth(slope(image, -1), -2), smooth(slope(image, -2), -1)


def gradient_ncc(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of the normalised cross-correlations of the horizontal and of the vertical derivatives, (B,) in [-1, 1].

    Reference: Penney et al., IEEE Trans. Med. Imaging 17(4), 1998 (gradient correlation).
    """
    inner = None
    if mask is not None:  # a derivative counts where all pixels that it comes from do
        inner = (box_sum(mask.to(first), 3) > 9 - 1e-3).to(first)
    pairs = zip(gradient_images(first), gradient_images(second), strict=True)
    return torch.stack([ncc(a, b, inner) for a, b in pairs]).mean(0)


def mean_squared_error(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference, (B,) in [0, inf), unit of the images squared."""
    _check(first, second)
    return ((first - second) ** 2).flatten(1).mean(1)


def structural_similarity(first: Tensor, second: Tensor, data_range: float | None = None) -> Tensor:
    """Mean structural similarity, Gaussian window of 11 pixels with sigma 1.5, (B,) in [-1, 1].

    Args:
        first: images.
        second: images.
        data_range: largest minus smallest possible value; by default over both images together.

    Reference: Wang et al., IEEE Trans. Image Process. 13(4), 2004.
    """
    _check(first, second)
    if data_range is None:
        low = min(first.detach().min().item(), second.detach().min().item())
        high = max(first.detach().max().item(), second.detach().max().item())
        data_range = high - low or 1.0
    similarity, _ = compute_ssim_and_cs(
        first,
        second.expand_as(first),
        spatial_dims=2,
        kernel_size=(11, 11),
        kernel_sigma=(1.5, 1.5),
        data_range=data_range,
    )
    return similarity.flatten(1).mean(1)


def mutual_information(first: Tensor, second: Tensor, bins: int = 100) -> Tensor:
    """Normalised mutual information (H(a) + H(b)) / H(a, b), (B,) in [1, 2]; for evaluation, not differentiable.

    Each image's own range is cut into ``bins``. Two constant images give 2.
    Reference: Studholme et al., Pattern Recognition 32(1), 1999.
    """
    _check(first, second)

    def binned(image: Tensor) -> Tensor:
        low, high = image.flatten(1).amin(1), image.flatten(1).amax(1)
        width = torch.where(high > low, high - low, 1)[:, None]
        return ((image.flatten(1) - low[:, None]) / width * bins).long().clamp(max=bins - 1)

    def entropy(counts: Tensor) -> Tensor:
        share = counts / counts.flatten(1).sum(1).reshape(-1, *[1] * (counts.ndim - 1))
        return -torch.xlogy(share, share).flatten(1).sum(1)

    a = binned(first.detach().double())
    b = binned(second.detach().double()).expand_as(a)
    joint = torch.zeros(len(a), bins * bins, dtype=torch.float64, device=a.device)
    joint.scatter_add_(1, a * bins + b, torch.ones_like(a, dtype=torch.float64))
    joint = joint.reshape(len(a), bins, bins)
    both = entropy(joint)
    separate = entropy(joint.sum(2)) + entropy(joint.sum(1))
    return torch.where(both > 0, separate / torch.where(both > 0, both, 1), 2)
