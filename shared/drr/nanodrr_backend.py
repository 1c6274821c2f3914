"""Projection with nanodrr: its fused Triton kernel on CUDA, its PyTorch implementation elsewhere.

nanodrr is no requirement (it is of use on CUDA only), so it is loaded when it is first used: ``pip install nanodrr``.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from .geometry import Detector, as_batch

SAMPLES_PER_VOXEL = 1.0  # along the longest edge of the volume; as fine as one sample per slice


def _load(name: str) -> Any:
    """A module of nanodrr.

    Raises:
        ModuleNotFoundError: with what to do, where it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("backend 'nanodrr' needs the package: pip install nanodrr") from error


def _subject(volume: Tensor, affine: Tensor) -> Any:
    """nanodrr Subject of a volume (X, Y, Z) of attenuation, without copying it.

    nanodrr wants (Z, Y, X) and the matching world-to-voxel matrix; here the volume stays as it is and the matrix
    exchanges the roles of x and z instead.
    """
    swap = torch.eye(4, dtype=torch.float64)[[2, 1, 0, 3]]
    voxel_to_world = affine.detach().cpu().double() @ swap
    size = torch.tensor(volume.shape[::-1], dtype=torch.float64)
    to_grid = torch.diag(torch.cat([2 / size, torch.ones(1, dtype=torch.float64)]))
    to_grid[:3, 3] = 1 / size - 1
    center = voxel_to_world @ torch.cat([(size - 1) / 2, torch.ones(1, dtype=torch.float64)])
    image = volume[None, None]
    matrices = [voxel_to_world, torch.linalg.inv(voxel_to_world), to_grid, center[:3]]
    return _load("nanodrr.data").Subject(
        image,
        torch.empty(0, dtype=volume.dtype, device=volume.device),  # labels, unused with one class
        *(matrix.to(volume) for matrix in matrices),
        max_label=0,
        convert_to_mu=False,
    )


def project(volume: Tensor, camera_to_world: Tensor, affine: Tensor, detector: Detector) -> Tensor:
    """Line integrals by nanodrr, differentiable in pose and volume.

    Args:
        volume: (X, Y, Z) in units per mm, on the device of the computation.
        camera_to_world: camera poses (B, 4, 4) [RAS mm].
        affine: (4, 4) voxel indices to RAS mm.
        detector: the detector.

    Returns:
        Images (B, rows, columns) of the volume's dtype.
    """
    pose = as_batch(camera_to_world).to(volume)
    sdd = torch.tensor([detector.sdd], dtype=volume.dtype, device=volume.device)
    image = _load("nanodrr.drr").render(
        _subject(volume, affine),
        intrinsics_to_nanodrr(detector).to(volume),
        pose,
        sdd,
        detector.rows,
        detector.columns,
        n_samples=round(SAMPLES_PER_VOXEL * max(volume.shape)),
    )
    return image[:, 0]


def intrinsics_to_nanodrr(detector: Detector) -> Tensor:
    """nanodrr's ``k_inv`` (1, 3, 3) float64 of a detector; its pixel centres lie at half-integers, ours at integers."""
    intrinsics = detector.intrinsics()
    intrinsics[:2, 2] += 0.5
    return torch.linalg.inv(intrinsics)[None]


def intrinsics_from_nanodrr(k_inv: Tensor, sdd: float, rows: int, columns: int) -> Detector:
    """Detector of nanodrr's ``k_inv`` (1, 3, 3); its camera-to-world matrix (``rt_inv``) is ours as it stands."""
    intrinsics = torch.linalg.inv(k_inv[0].detach().double())
    intrinsics[:2, 2] -= 0.5
    return Detector.from_intrinsics(intrinsics, rows, columns, sdd)
