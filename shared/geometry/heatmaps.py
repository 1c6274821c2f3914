"""Gaussian heatmaps of landmarks: targets, loss and sub-pixel decoding, in 2-D and 3-D.

Points are array indices of the heatmap's spatial axes (pixel centres at integers); an absent landmark is NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def gaussian_heatmaps(points: Tensor, spatial_shape: tuple[int, ...] | torch.Size, sigma: Tensor | float) -> Tensor:
    """Gaussians of peak 1.

    Args:
        points: (B, K, D) heatmap indices; NaN where absent.
        spatial_shape: D sizes.
        sigma: standard deviation in heatmap pixels, a number or one per landmark (K,).

    Returns:
        (B, K, *spatial_shape); all zero for absent landmarks. Differentiable in ``sigma``.
    """
    batch, count, dims = points.shape
    sigma = torch.as_tensor(sigma, dtype=points.dtype, device=points.device).expand(count)[None, :, None]
    centres = torch.nan_to_num(points, nan=-1e6)  # a Gaussian this far away is zero
    heatmaps = torch.ones(batch, count, *[1] * dims, dtype=points.dtype, device=points.device)
    for axis, size in enumerate(spatial_shape):
        grid = torch.arange(size, dtype=points.dtype, device=points.device)
        profile = torch.exp(-0.5 * ((grid - centres[..., axis, None]) / sigma) ** 2)
        heatmaps = heatmaps * profile.view(batch, count, *[size if a == axis else 1 for a in range(dims)])
    return heatmaps


class HeatmapLoss(nn.Module):
    r"""Sum of squared heatmap differences with fixed or learnable sigma.

    :math:`L = \frac{1}{BK} \sum_{present} \|H_k - g_k(\sigma_k)\|^2 + \alpha \|\sigma_k\|^2` (Payer et al. 2019, eq. 2,
    without its weight decay, which belongs to the optimizer). With a learnable sigma the published target
    :math:`\gamma / ((2\pi)^{D/2} \sigma^D)` is used: with a peak of 1 the smallest loss would be a vanishing sigma.

    Args:
        num_landmarks: K.
        sigma: (initial) standard deviation in heatmap pixels.
        learnable_sigma: optimise one sigma per landmark together with the network.
        alpha: weight of the sigma penalty (learnable sigma only).
        gamma: scale of the published target (learnable sigma only), 100 in 2-D, 1000 in 3-D.
        stride: image pixels per heatmap pixel; the points come in image pixels.

    Input: heatmaps (B, K, *spatial) and points (B, K, D) in image pixels, NaN where absent. Landmarks that are absent
    contribute to neither term.
    """

    def __init__(
        self,
        num_landmarks: int,
        sigma: float = 2.0,
        learnable_sigma: bool = False,
        alpha: float = 0.1,
        gamma: float = 100.0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.learnable_sigma, self.alpha, self.gamma, self.stride = learnable_sigma, alpha, gamma, stride
        self.sigma = nn.Parameter(torch.full((num_landmarks,), float(sigma)), requires_grad=learnable_sigma)

    def targets(self, points: Tensor, spatial_shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Target heatmaps (B, K, *spatial_shape) of points in image pixels."""
        heatmaps = gaussian_heatmaps(points / self.stride, spatial_shape, self.sigma)
        if self.learnable_sigma:
            dims = len(spatial_shape)
            scale = self.gamma / ((2 * math.pi) ** (dims / 2) * self.sigma**dims)
            heatmaps = heatmaps * scale.view(1, -1, *[1] * dims)
        return heatmaps

    def forward(self, heatmaps: Tensor, points: Tensor) -> Tensor:
        heatmaps = torch.as_tensor(heatmaps).float()
        points = torch.as_tensor(points).to(heatmaps)
        present = ~torch.isnan(points).any(dim=-1)
        targets = self.targets(points, heatmaps.shape[2:])
        squared = (heatmaps - targets).square().flatten(2).sum(dim=-1)
        count = present.sum().clamp(min=1)
        loss = squared.masked_fill(~present, 0.0).sum() / count
        if self.learnable_sigma:
            penalty = self.sigma.square().expand_as(present).masked_fill(~present, 0.0).sum() / count
            loss = loss + self.alpha * penalty
        return loss


def decode_heatmaps(heatmaps: Tensor, stride: int = 1, radius: int = 3) -> tuple[Tensor, Tensor]:
    """Sub-pixel position and height of the highest peak of each heatmap.

    The position is the centroid of the values over half of the peak inside a window around the maximum: for Gaussians
    it is exact up to the cut-off, and unlike a parabola through three pixels it does not follow the noise of one pixel.

    Args:
        heatmaps: (B, K, *spatial).
        stride: image pixels per heatmap pixel.
        radius: half width of the window in heatmap pixels.

    Returns:
        points (B, K, D) in image pixels and peaks (B, K).
    """
    shape, dims = heatmaps.shape[2:], heatmaps.ndim - 2
    batch, count = heatmaps.shape[:2]
    peaks, flat = heatmaps.flatten(2).max(dim=-1)
    maxima = torch.stack(torch.unravel_index(flat, shape), dim=-1)  # (B, K, D)
    offsets = torch.arange(-radius, radius + 1, device=heatmaps.device)
    window = torch.stack(torch.meshgrid(*[offsets] * dims, indexing="ij"), dim=-1).reshape(-1, dims)
    indices = maxima[:, :, None] + window  # (B, K, W, D)
    sizes = torch.tensor(shape, device=heatmaps.device)
    inside = ((indices >= 0) & (indices < sizes)).all(dim=-1)
    strides = torch.tensor([math.prod(shape[axis + 1 :]) for axis in range(dims)], device=heatmaps.device)
    linear = (indices.clamp(min=0).minimum(sizes - 1) * strides).sum(dim=-1)
    values = heatmaps.flatten(2).gather(2, linear).double()
    weights = (values - 0.5 * peaks[..., None].double()).clamp(min=0) * inside
    total = weights.sum(dim=-1, keepdim=True)
    # A heatmap without any positive value has no peak to refine: keep the pixel.
    shift = (weights[..., None] * window).sum(dim=2) / total.clamp(min=1e-12)
    points = maxima + torch.where(total > 0, shift, torch.zeros_like(shift))
    return (points * stride).to(torch.float32).view(batch, count, dims), peaks.float()
