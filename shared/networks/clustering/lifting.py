"""Lifting of X-ray feature maps into space: every voxel reads both maps where it projects."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .position import axis_positions

OUTSIDE = 3.0  # an image coordinate off every detector (its edges are -1 and 1)


class BiplanarLifting(nn.Module):
    """Features of both views at the centre of every cell of a grid over the volume; no parameters.

    The horizontal axes of the frontal and of the lateral image are different directions in space. Only here, along the
    rays, do the two views meet.

    Args:
        grid: cells along x, y, z.
        size_mm: extent of the volume along x, y, z, centred on the isocentre.

    Input: feature maps (B, C, rows, columns) of any resolution, frontal and lateral, and projections (B, 2, 3, 4), see
    `normalized_projection`. Output (B, 2 C, *grid); 0 where a cell is seen by no pixel.
    """

    x: Tensor
    y: Tensor
    z: Tensor

    def __init__(self, grid: Sequence[int], size_mm: Sequence[float]) -> None:
        super().__init__()
        self.outside = OUTSIDE  # scripted code reads no module constants
        for name, length, extent in zip("xyz", grid, size_mm, strict=True):
            self.register_buffer(name, axis_positions(length) * (extent / 2), persistent=False)

    def image_positions(self, projection: Tensor) -> Tensor:
        """Image coordinates (B, X, Y, Z, 2) = (u, v), -1 to 1, of the cells for projections (B, 3, 4)."""
        p = projection[:, :, None, None, None, :]
        x, y, z = self.x[:, None, None], self.y[:, None], self.z
        homogeneous = p[..., 0] * x + p[..., 1] * y + p[..., 2] * z + p[..., 3]
        depth = homogeneous[:, 2:]
        in_front = depth > 0
        image = homogeneous[:, :2] / torch.where(in_front, depth, torch.ones_like(depth))
        return torch.where(in_front, image, torch.full_like(image, self.outside)).permute(0, 2, 3, 4, 1)

    def lift(self, features: Tensor, projection: Tensor) -> Tensor:
        """Features (B, C, X, Y, Z) of one map (B, C, rows, columns) with projections (B, 3, 4)."""
        positions = self.image_positions(projection)
        size = positions.shape
        sampled = F.grid_sample(features, positions.flatten(2, 3).to(features.dtype), align_corners=False)
        return sampled.reshape(size[0], -1, size[1], size[2], size[3])

    def forward(self, frontal: Tensor, lateral: Tensor, projections: Tensor) -> Tensor:
        return torch.cat([self.lift(frontal, projections[:, 0]), self.lift(lateral, projections[:, 1])], dim=1)
