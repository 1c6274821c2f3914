"""What the pose regressor sees, and what its answer means."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .pose_space import PoseSpace
from .shared.drr.geometry import Detector

CLIP = 5.0  # standard deviations: what is brighter is a marker, metal or a blade


def decode(output: Tensor, space: PoseSpace) -> Tensor:
    """Pose parameters (B, 6) float64 [rad, mm] of the network's output (B, 6) [rad, m]."""
    scale = torch.tensor([1.0, 1.0, 1.0, 1000.0, 1000.0, 1000.0], dtype=torch.float64, device=output.device)
    return space.middle.to(output.device) + output.double() * scale


def encode(parameters: Tensor, space: PoseSpace) -> Tensor:
    """Inverse of `decode`."""
    scale = torch.tensor([1.0, 1.0, 1.0, 1000.0, 1000.0, 1000.0], dtype=torch.float64, device=parameters.device)
    return (parameters.double() - space.middle.to(parameters.device)) / scale


def standardize(image: Tensor, mask: Tensor) -> Tensor:
    """Images (B, 1, H, W) with mean 0 and variance 1 inside the mask (B, 1, H, W), 0 outside."""
    count = mask.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    mean = (mask * image).sum(dim=(-2, -1), keepdim=True) / count
    centred = mask * (image - mean)
    deviation = ((centred**2).sum(dim=(-2, -1), keepdim=True) / count).sqrt()
    return (centred / deviation.clamp(min=1e-6)).clamp(-CLIP, CLIP)


def network_input(image: Tensor, mask: Tensor, detector: Detector, trained: Detector) -> Tensor:
    """An X-ray as the network's detector would have seen it: same rays, standardised, (B, 1, rows, columns).

    Args:
        image: (B, 1, H, W).
        mask: (B, 1, H, W), 1 where the image counts.
        detector: of the image.
        trained: with which the network was trained.
    """
    # smooth first, or pixels of the network's size would alias
    ratio = [
        trained.pixel_mm[k] / trained.sdd * detector.sdd / detector.pixel_mm[k] for k in (1, 0)
    ]  # image pixels per pixel of the network
    size = [max(2, round(n / max(1.0, r))) for n, r in zip(image.shape[-2:], ratio, strict=True)]
    small, small_mask = (
        F.interpolate(one, size=size, mode="bilinear", antialias=True, align_corners=False) for one in (image, mask)
    )
    reduced = detector.resized(*size)
    axes = []
    counts, targets = (trained.rows, trained.columns), (reduced.rows, reduced.columns)
    for k, count, target in zip((1, 0), counts, targets, strict=True):
        tangent = (torch.arange(count) - trained.principal_point[k]) * trained.pixel_mm[k] / trained.sdd
        index = tangent * reduced.sdd / reduced.pixel_mm[k] + reduced.principal_point[k]
        axes.append((2 * index + 1) / target - 1)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)[None].to(small)
    grid = grid.expand(len(small), -1, -1, -1)
    seen = F.grid_sample(small, grid, padding_mode="border", align_corners=False)
    weight = (F.grid_sample(small_mask, grid, padding_mode="zeros", align_corners=False) > 0.99).to(seen)
    return standardize(seen, weight)
