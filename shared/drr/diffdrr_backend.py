"""Reference projection with DiffDRR's own Siddon and trilinear renderers."""

from __future__ import annotations

import torch
from diffdrr.renderers import Siddon, Trilinear, _get_alphas, _get_voxel, _get_xyzs
from torch import Tensor

from .geometry import expand_rays

RAYS_AT_ONCE = 8192  # bounds the memory: Siddon holds some 30 numbers per ray and plane of the volume


class SegmentSiddon(Siddon):
    """DiffDRR's Siddon restricted to the segment between source and target.

    The original integrates along the whole line, also behind a source that lies inside the volume.
    """

    def forward(self, volume: Tensor, source: Tensor, target: Tensor, length: Tensor) -> Tensor:
        dims = self.dims(volume)
        alphas = _get_alphas(source, target, dims, self.voxel_shift, self.eps, False).clamp(0, 1)
        middle = (alphas[..., :-1] + alphas[..., 1:]) / 2
        points = _get_xyzs(middle, source, target, dims, self.voxel_shift, self.eps)
        values = _get_voxel(volume, points, length, self.mode, align_corners=False)
        return (values * torch.diff(alphas, dim=-1)).sum(-1)[:, None]


def project(
    volume: Tensor, frames: Tensor, affine: Tensor, rows: int, columns: int, method: str = "siddon", samples: int = 500
) -> Tensor:
    """As `joseph.project`, by DiffDRR on any device.

    Args:
        volume: (X, Y, Z); its dtype is that of the computation (float64 for a reference).
        frames: ray frames (B, 4, 3) in voxel indices.
        affine: (4, 4) voxel indices to mm.
        rows: detector rows.
        columns: detector columns.
        method: "siddon" (exact for voxels of constant value) or "trilinear" (``samples`` points per ray, for a source
            and a detector outside the volume).
        samples: points per ray of the trilinear method.

    Returns:
        Images (B, rows, columns).
    """
    source, targets = expand_rays(frames.to(volume.dtype), rows, columns)
    linear = affine.to(volume)[:3, :3]
    images = []
    for some in targets.split(RAYS_AT_ONCE, dim=1):
        length = ((some - source) @ linear.mT).norm(dim=-1)[:, None]
        if method == "siddon":
            images.append(SegmentSiddon()(volume, source, some, length))
        else:
            images.append(Trilinear()(volume, source, some, length, n_points=samples))
    return torch.cat(images, dim=-1).reshape(len(frames), rows, columns)
