"""Digitally reconstructed radiographs: one function in front of the projectors.

Detector images are tensors (B, C, rows, columns).
"""

from __future__ import annotations

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from ..geometry.frames import plain_tensor
from . import diffdrr_backend, joseph, nanodrr_backend
from .geometry import Detector, as_batch, ray_frame, ray_frame_in_voxels

BACKENDS = ("joseph", "nanodrr", "diffdrr", "diffdrr_trilinear")


def default_backend(device: torch.device) -> str:
    """Fastest backend on a device: our kernel on the CPU, nanodrr's on CUDA."""
    return "joseph" if device.type == "cpu" else "nanodrr"


def render(
    volume: Tensor,
    camera_to_world: Tensor,
    detector: Detector,
    affine: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Line integrals of a volume along the rays of each camera, differentiable in the pose and in the volume.

    Args:
        volume: (C, X, Y, Z) float32 or float64: linear attenuation [1/mm], or one channel per structure. Each channel
            is projected for itself.
        camera_to_world: camera poses (4, 4) or (B, 4, 4) [RAS mm].
        detector: the detector of all views.
        affine: (4, 4) voxel indices to RAS mm; that of the volume where it is a MetaTensor.
        backend: "joseph" (CPU), "nanodrr" (CUDA; any device where it is installed), "diffdrr" (its Siddon: slow
            reference) or "diffdrr_trilinear"; by default the fastest on the volume's device.

    Returns:
        (B, C, rows, columns) of the volume's dtype: attenuation integrals (no unit), -log of the transmitted fraction.

    Raises:
        ValueError: for an unknown backend, a missing affine or a wrong shape.
    """
    if volume.ndim != 4:
        raise ValueError(f"volume has to be (C, X, Y, Z), got {tuple(volume.shape)}")
    if isinstance(volume, MetaTensor):
        affine = volume.affine if affine is None else affine
        volume = plain_tensor(volume)
    if affine is None:
        raise ValueError("a volume without affine: give one")
    name = backend or default_backend(volume.device)
    pose = as_batch(camera_to_world).to(volume.device)
    if name == "nanodrr":
        return torch.stack([nanodrr_backend.project(one, pose, affine, detector) for one in volume], dim=1)
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}: one of {BACKENDS}")
    frames = ray_frame_in_voxels(ray_frame(pose.double(), detector), affine)
    size = (detector.rows, detector.columns)
    if name == "joseph":
        return torch.stack([joseph.project(one, frames, affine, *size) for one in volume], dim=1)
    method = "trilinear" if name == "diffdrr_trilinear" else "siddon"
    return torch.stack([diffdrr_backend.project(one, frames, affine, *size, method) for one in volume], dim=1)
