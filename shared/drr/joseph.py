"""Joseph projection of a volume on the CPU, differentiable in the rays and in the volume.

The kernels and the model behind them are in `joseph_kernels`. The first call compiles them (a few seconds; kept on disk
where possible). As many threads work as torch uses (``torch.get_num_threads()``); results do not depend on their
number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .joseph_kernels import TILE, dominant_axes, pose_gradient, project_rows, spread_slices

_pools: dict[int, ThreadPoolExecutor] = {}
# The threads of a pool do not exist in a forked child; it makes its own.
os.register_at_fork(after_in_child=_pools.clear)


def _run(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> None:
    """Calls ``function`` with each tuple of arguments, spread over the threads; raises what a call raises."""
    threads = torch.get_num_threads()
    if threads == 1:
        for call in calls:
            function(*call)
        return
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="joseph")
    for done in [_pools[threads].submit(function, *call) for call in calls]:
        done.result()


def _row_blocks(rows: int) -> list[tuple[int, int]]:
    """Ranges of at most `TILE` rows."""
    return [(first, min(first + TILE, rows)) for first in range(0, rows, TILE)]


class _Joseph(torch.autograd.Function):
    """(volume (X, Y, Z), frames (B, 4, 3) float64, metric (3, 3) float64, rows, columns) -> images (B, rows,
    columns).
    """

    @staticmethod
    def forward(ctx: Any, volume: Tensor, frames: Tensor, metric: Tensor, rows: int, columns: int) -> Tensor:
        flat = volume.detach().contiguous().reshape(-1).numpy()
        shape = np.array(volume.shape, dtype=np.int64)
        frame_array, metric_array = frames.detach().numpy(), metric.numpy()
        image = torch.empty(len(frames), rows, columns, dtype=volume.dtype)
        gradient = torch.empty(len(frames), rows, columns, 6, dtype=volume.dtype) if ctx.needs_input_grad[1] else None
        calls = []
        for view, frame in enumerate(frame_array):
            rows_inside = bool(abs(frame[3, 2]) > abs(frame[2, 2]))  # neighbours in memory first: the last axis
            by_ray = None if gradient is None else gradient[view].numpy()
            for block in _row_blocks(rows):
                calls.append((flat, shape, frame, metric_array, image[view].numpy(), by_ray, *block, rows_inside))
        _run(project_rows, calls)
        ctx.shape = tuple(volume.shape)
        ctx.save_for_backward(frames, metric, gradient)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, image_gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        frames, metric, gradient = ctx.saved_tensors
        incoming = image_gradient.contiguous()
        by_frame = None if gradient is None else _frame_gradient(gradient, incoming)
        by_volume = _volume_gradient(ctx.shape, frames, metric, incoming) if ctx.needs_input_grad[0] else None
        return by_volume, by_frame, None, None, None


def _frame_gradient(gradient: Tensor, image_gradient: Tensor) -> Tensor:
    """Gradient (B, 4, 3) float64 by the ray frames."""
    views, rows = image_gradient.shape[:2]
    blocks = _row_blocks(rows)
    parts = np.empty((views, len(blocks), 4, 3))
    _run(
        pose_gradient,
        (
            (gradient[view].numpy(), image_gradient[view].numpy(), *block, parts[view, number])
            for view in range(views)
            for number, block in enumerate(blocks)
        ),
    )
    return torch.from_numpy(parts.sum(1))


def _volume_gradient(shape: tuple[int, ...], frames: Tensor, metric: Tensor, image_gradient: Tensor) -> Tensor:
    """Gradient (X, Y, Z) by the volume, of the image gradient's dtype."""
    result = torch.zeros(shape, dtype=image_gradient.dtype)
    flat, size = result.view(-1).numpy(), np.array(shape, dtype=np.int64)
    rows, columns = image_gradient.shape[1:]
    parts = 2 * torch.get_num_threads()
    for frame, incoming in zip(frames.detach().numpy(), image_gradient.numpy(), strict=True):
        for axis, found in enumerate(dominant_axes(frame, rows, columns)):
            if not found:
                continue
            borders = np.linspace(0, shape[axis], parts + 1).astype(int).tolist()
            slabs = zip(borders[:-1], borders[1:], strict=True)
            _run(spread_slices, ((flat, size, frame, metric.numpy(), incoming, axis, *slab) for slab in slabs))
    return result


def project(volume: Tensor, frames: Tensor, affine: Tensor, rows: int, columns: int) -> Tensor:
    """Line integrals through a volume along the rays of flat detectors.

    Args:
        volume: (X, Y, Z) float32 or float64 on the CPU, in units per mm; contiguous, or it is copied.
        frames: ray frames (B, 4, 3) in voxel indices, see `geometry.ray_frame_in_voxels`; the gradient goes on from
            there to any parametrisation of the pose.
        affine: (4, 4) voxel indices to mm, for the lengths.
        rows: detector rows.
        columns: detector columns.

    Returns:
        Images (B, rows, columns) of the volume's dtype. Extra memory: the images, and six values per pixel where the
        frames need a gradient.

    Raises:
        ValueError: for a volume of another dtype, device or number of axes, or frames that are not finite.
    """
    if volume.ndim != 3 or volume.dtype not in (torch.float32, torch.float64) or volume.device.type != "cpu":
        given = f"{tuple(volume.shape)} {volume.dtype} on {volume.device}"
        raise ValueError(f"volume has to be (X, Y, Z) float32 or float64 on the CPU, got {given}")
    frames = frames.double()
    if not bool(frames.detach().isfinite().all()):
        raise ValueError("the camera pose holds values that are not finite")
    linear = affine.detach().double()[:3, :3]
    return _Joseph.apply(volume, frames, linear.mT @ linear, rows, columns)
