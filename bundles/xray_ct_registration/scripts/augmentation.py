"""From a clean rendering to something like an X-ray of a real machine, for the training of the pose regressor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A random number, uniform in [low, high)."""
    return low + (high - low) * float(torch.rand(1, generator=generator))


def equalized(image: Tensor, share: float) -> Tensor:
    """Image (rows, columns) in [0, 1], partly histogram equalised (what consoles do to contrast)."""
    ranks = image.flatten().argsort().argsort().reshape(image.shape).to(image) / max(1, image.numel() - 1)
    return (1 - share) * image + share * ranks


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Image (rows, columns) smoothed by a Gaussian of ``sigma`` pixels."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image[None, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[0, 0]


def collimated(shape: torch.Size, generator: torch.Generator, largest: float = 0.2) -> Tensor:
    """Mask (rows, columns) float32 of a rectangular collimator that covers up to ``largest`` of each side's length."""
    mask = torch.zeros(shape)
    top, bottom, left, right = (largest * torch.rand(4, generator=generator)).tolist()
    rows, columns = shape
    mask[round(top * rows) : rows - round(bottom * rows), round(left * columns) : columns - round(right * columns)] = 1
    return mask


def augment(image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random appearance of a rendering.

    Args:
        image: attenuation integrals (rows, columns).
        generator: CPU generator; the result depends on it alone.

    Returns:
        image in [0, 1] and mask of what counts, both (rows, columns).
    """
    low, high = image.min(), image.max()
    image = (image - low) / (high - low).clamp(min=1e-6)
    chance = torch.rand(6, generator=generator)
    image = image ** (2 ** uniform(-0.8, 0.8, generator))
    if chance[0] < 0.3:
        image = equalized(image, uniform(0.0, 0.7, generator))
    if chance[1] < 0.3:
        image = blurred(image, uniform(0.3, 1.2, generator))
    if chance[2] < 0.6:
        noise = torch.randn(image.shape, generator=generator).to(image)
        image = image + uniform(0.0, 0.06, generator) * noise
    mask = torch.ones_like(image)
    if chance[3] < 0.6:
        mask = collimated(image.shape, generator).to(image)
    if chance[4] < 0.25:  # an implant, a marker, a hand
        rows, columns = image.shape
        size = [max(1, round(uniform(0.05, 0.25, generator) * n)) for n in (rows, columns)]
        top, left = (round(uniform(0, n - s, generator)) for n, s in zip((rows, columns), size, strict=True))
        image = image.clone()
        image[top : top + size[0], left : left + size[1]] = uniform(0.0, 1.2, generator)
    return image, mask
