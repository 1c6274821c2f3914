"""Compiled CPU kernels of the Joseph projector; `joseph` calls them.

Model. The volume is a box of voxels, centres at integer indices, faces at -0.5 and n - 0.5. A ray from the source ``s``
to the detector point ``t`` (voxel indices) is walked along its own dominant axis ``a``, on which it crosses most
voxels. Where it meets slice ``k`` of that axis, ``V_k`` is interpolated bilinearly (Joseph, IEEE Trans. Med. Imaging
1(3), 1982); between slices the value is linear, in the outer half voxels constant. The line integral is ::

    I = length_mm / |d_a| * integral of V over the coordinate a from x0 to x1,       d = t - s

where x0 and x1 are the points at which the segment enters and leaves the box, or begins and ends inside it. All slices
between count fully; the ones next to x0 and x1 get the weights of `end_weights`.

Gradients. With ``alpha_k = (k - s_a) / d_a`` the ray meets slice ``k`` at ``u_k = s_b + alpha_k d_b``,
``v_k = s_c + alpha_k d_c``, so the derivatives by ``s`` and ``d`` need four sums over the slices (``w dV/du``,
``w alpha dV/du`` and the same for v), the values V at both ends, which move with the ray, and the derivative of
``length_mm / |d_a|``. The forward pass accumulates them from the same four voxels as the value, which makes the pose
gradient nearly free.

Rays are given per view as a *frame* (4, 3) in voxel indices: source, pixel (row 0, column 0), step per column, step per
row.

Kernels release the GIL and work on a part of the rows or slices, so that Python threads run them side by side. Unlike
the threading layers behind ``numba.prange`` that is safe after a fork (data loader workers) and when two threads render
at once, and it does not leave a second pool of spinning threads beside torch's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit

PARALLEL = 1e-12  # [voxel over the whole ray] a direction component below this counts as zero
INSIDE = 1e-3  # [voxel] distance from the rim from which neighbours are taken unchecked; far above float32 rounding
TILE = 16  # rays are walked in square tiles, so that neighbours find their voxels in the cache


@contextmanager
def cache_of_import_path() -> Iterator[None]:
    """Let numba cache outside the source folder, where the path under which this module was imported counts.

    Bundles reach this file through a link and under another package name. Beside the source all of them would share one
    cache, whose content is bound to the package that compiled it; numba's own folders tell paths apart, not packages.
    """
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai-bundles" / "numba" / __name__
    numba.config.CACHE_DIR = before or str(folder)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` that keeps its result on disk where a cache folder can be written, and else compiles anew."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            with cache_of_import_path():
                return njit(cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # no writable cache folder
            return njit(error_model="numpy", **options)(function)

    return decorate


@compiled(inline="always")
def clip(source, direction, shape, margin):
    """Part of a segment inside the box [margin - 0.5, n - 0.5 - margin].

    Returns:
        First and last ray parameter in [0, 1] (first > last where it misses), and the axes whose planes set them (-1:
        an end of the segment itself).
    """
    first, last, first_axis, last_axis = 0.0, 1.0, -1, -1
    for axis in range(3):
        low, high = margin - 0.5, shape[axis] - 0.5 - margin
        if abs(direction[axis]) < PARALLEL:
            if source[axis] < low or source[axis] > high:
                first, last = 2.0, -1.0
        else:
            near = (low - source[axis]) / direction[axis]
            far = (high - source[axis]) / direction[axis]
            if near > far:
                near, far = far, near
            if near > first:
                first, first_axis = near, axis
            if far < last:
                last, last_axis = far, axis
    return first, last, first_axis, last_axis


@compiled(inline="always")
def ray_direction(frame, i, j):
    """Source to pixel (row i, column j) [voxel]."""
    return (
        frame[1, 0] + j * frame[2, 0] + i * frame[3, 0] - frame[0, 0],
        frame[1, 1] + j * frame[2, 1] + i * frame[3, 1] - frame[0, 1],
        frame[1, 2] + j * frame[2, 2] + i * frame[3, 2] - frame[0, 2],
    )


@compiled(inline="always")
def axes_of(direction):
    """Dominant axis a and the two others b < c."""
    a = 0
    if abs(direction[1]) > abs(direction[0]):
        a = 1
    if abs(direction[2]) > abs(direction[a]):
        a = 2
    return a, 1 if a == 0 else 0, 1 if a == 2 else 2


@compiled(inline="always")
def end_weights(low, high, n):
    """Slices next to the ends of the interval [low, high] of the dominant coordinate, and their weights.

    The integral of a function that is linear between slices is the sum of the slices first … last plus, for each of
    four slices (two at either end, clamped to [0, n - 1]), weight times value.

    Returns:
        first, last; the four slices; the four weights; the fractions by which both ends lie between their two slices.
    """
    k_low, k_high = int(math.floor(low)), int(math.floor(high))
    f_low, f_high = low - k_low, high - k_high
    weights = (
        (1.0 if k_low < 0 else 0.0) - (0.5 + f_low - f_low * f_low / 2),
        -f_low * f_low / 2,
        -(0.5 - f_high + f_high * f_high / 2),
        f_high * f_high / 2,
    )
    top = n - 1
    slices = (
        min(max(k_low, 0), top),
        min(max(k_low + 1, 0), top),
        min(max(k_high, 0), top),
        min(max(k_high + 1, 0), top),
    )
    return max(k_low, 0), min(k_high, top), slices, weights, f_low, f_high


@compiled(inline="always")
def metric_length(direction, metric):
    """Length [mm] of a direction [voxel] and the metric tensor times the direction (the gradient of length² / 2)."""
    g0 = metric[0, 0] * direction[0] + metric[0, 1] * direction[1] + metric[0, 2] * direction[2]
    g1 = metric[1, 0] * direction[0] + metric[1, 1] * direction[1] + metric[1, 2] * direction[2]
    g2 = metric[2, 0] * direction[0] + metric[2, 1] * direction[1] + metric[2, 2] * direction[2]
    return math.sqrt(g0 * direction[0] + g1 * direction[1] + g2 * direction[2]), (g0, g1, g2)


@compiled(inline="always")
def rim_neighbours(u, v, n_u, n_v, stride_u, stride_v):
    """Bilinear neighbours of a position that may lie outside the outermost voxel centres: the nearest border value
    counts.

    Returns:
        Offset of the first neighbour, steps to the others along u and v, fractions, and 0 or 1 where the value does not
        or does depend on u and on v.
    """
    kind = type(u)
    top_u, top_v, zero, one = kind(n_u - 1), kind(n_v - 1), kind(0), kind(1)
    cu, cv = min(max(u, zero), top_u), min(max(v, zero), top_v)
    iu, iv = int(cu), int(cv)
    step_u = stride_u if iu + 1 < n_u else 0
    step_v = stride_v if iv + 1 < n_v else 0
    moves_u = zero if u < zero or u > top_u else one
    moves_v = zero if v < zero or v > top_v else one
    return iu * stride_u + iv * stride_v, step_u, step_v, cu - kind(iu), cv - kind(iv), moves_u, moves_v


@compiled(inline="always")
def bilinear(volume, offset, step_u, step_v, fraction_u, fraction_v):
    """Value and its derivatives by u and v, between four voxels."""
    v00, v10 = volume[offset], volume[offset + step_u]
    v01, v11 = volume[offset + step_v], volume[offset + step_u + step_v]
    along_u0, along_u1 = v10 - v00, v11 - v01
    low, high = v00 + fraction_u * along_u0, v01 + fraction_u * along_u1
    by_v = high - low
    return low + fraction_v * by_v, along_u0 + fraction_v * (along_u1 - along_u0), by_v


@compiled(inline="always")
def rim_sample(volume, base, u, v, n_u, n_v, stride_u, stride_v):
    """`bilinear` at a position that may need clamping, in the slice that starts at ``base``."""
    offset, step_u, step_v, fraction_u, fraction_v, moves_u, moves_v = rim_neighbours(
        u, v, n_u, n_v, stride_u, stride_v
    )
    value, by_u, by_v = bilinear(volume, base + offset, step_u, step_v, fraction_u, fraction_v)
    return value, moves_u * by_u, moves_v * by_v


@compiled(nogil=True, fastmath=True)
def project_rows(volume, shape, frame, metric, image, gradient, first_row, last_row, rows_inside):
    """Line integrals of the rows [first_row, last_row) of one view.

    Args:
        volume: (X * Y * Z,) float32 or float64, C order.
        shape: (X, Y, Z).
        frame: (4, 3) float64 ray frame [voxel].
        metric: (3, 3) float64, A^T A of the affine's linear part A: lengths [mm] of voxel vectors.
        image: (rows, columns), written.
        gradient: (rows, columns, 6), written: derivatives by source and by direction; None to leave them out.
        rows_inside: whether neighbouring rows, not columns, are walked first.
    """
    kind = volume.dtype.type
    n = (shape[0], shape[1], shape[2])
    strides = (n[1] * n[2], n[2], 1)
    s = (frame[0, 0], frame[0, 1], frame[0, 2])
    for tile in range(0, image.shape[1], TILE):
        for step in range(TILE * (last_row - first_row)):
            if rows_inside:
                i, j = first_row + step % (last_row - first_row), tile + step // (last_row - first_row)
            else:
                i, j = first_row + step // TILE, tile + step % TILE
            if j >= image.shape[1]:
                continue
            d = ray_direction(frame, i, j)
            a, b, c = axes_of(d)
            start, end, start_axis, end_axis = clip(s, d, n, 0.0)
            if start >= end or abs(d[a]) < PARALLEL:
                image[i, j] = 0
                if gradient is not None:
                    gradient[i, j] = 0
                continue
            s_a, d_a, inverse = s[a], d[a], 1.0 / d[a]
            if d_a < 0:
                start, end, start_axis, end_axis = end, start, end_axis, start_axis
            low, high = s_a + start * d_a, s_a + end * d_a
            first, last, end_slices, weights, f_low, f_high = end_weights(low, high, n[a])
            # slices in which all four neighbours exist; rounding of the others decides nothing, they are checked
            inner_first, inner_last = last + 1, last
            near, far, _, _ = clip(s, d, n, 0.5 + INSIDE)
            if near < far:
                at_near, at_far = s_a + near * d_a, s_a + far * d_a
                inner_first = max(int(math.ceil(min(at_near, at_far))), first)
                inner_last = min(int(math.floor(max(at_near, at_far))), last)
                if inner_first > inner_last:
                    inner_first, inner_last = last + 1, last
            slope_u, slope_v = d[b] * inverse, d[c] * inverse
            n_u, n_v, stride_k, stride_u, stride_v = n[b], n[c], strides[a], strides[b], strides[c]
            total, by_u, by_v, turn_u, turn_v = kind(0), kind(0), kind(0), kind(0), kind(0)

            alpha = (inner_first - s_a) * inverse
            u0, v0, alpha0 = kind(s[b] + alpha * d[b]), kind(s[c] + alpha * d[c]), kind(alpha)
            per_u, per_v, per_alpha = kind(slope_u), kind(slope_v), kind(inverse)
            base = inner_first * stride_k
            for m in range(inner_last - inner_first + 1):
                u, v = u0 + kind(m) * per_u, v0 + kind(m) * per_v
                iu, iv = np.int32(u), np.int32(v)
                offset = base + m * stride_k + iu * stride_u + iv * stride_v
                value, du, dv = bilinear(volume, offset, stride_u, stride_v, u - kind(iu), v - kind(iv))
                alpha_m = alpha0 + kind(m) * per_alpha
                total += value
                by_u += du
                by_v += dv
                turn_u += alpha_m * du
                turn_v += alpha_m * dv

            # the other slices between the ends, then the four next to the ends
            value_low, value_high = kind(0), kind(0)
            before, rim = inner_first - first, (inner_first - first) + (last - inner_last)
            for q in range(rim + 4):
                weight = kind(1)
                k = first + q if q < before else inner_last + 1 + q - before
                if q >= rim:
                    k, weight = end_slices[q - rim], kind(weights[q - rim])
                alpha = (k - s_a) * inverse
                u, v = kind(s[b] + alpha * d[b]), kind(s[c] + alpha * d[c])
                value, du, dv = rim_sample(volume, k * stride_k, u, v, n_u, n_v, stride_u, stride_v)
                if q == rim:
                    value_low += kind(1 - f_low) * value
                elif q == rim + 1:
                    value_low += kind(f_low) * value
                elif q == rim + 2:
                    value_high += kind(1 - f_high) * value
                elif q == rim + 3:
                    value_high += kind(f_high) * value
                total += weight * value
                by_u += weight * du
                by_v += weight * dv
                turn_u += weight * kind(alpha) * du
                turn_v += weight * kind(alpha) * dv

            length, lowered = metric_length(d, metric)
            scale = length * abs(inverse)
            image[i, j] = scale * total
            if gradient is None:
                continue
            g = gradient[i, j]
            g[b], g[c], g[a] = scale * by_u, scale * by_v, -scale * (by_u * slope_u + by_v * slope_v)
            relative = scale * total / (length * length)
            for axis in range(3):
                g[3 + axis] = relative * lowered[axis]
            g[3 + b] += scale * turn_u
            g[3 + c] += scale * turn_v
            g[3 + a] -= scale * (turn_u * slope_u + turn_v * slope_v + total * inverse)
            # the ends: derivative of the dominant coordinate at which the ray crosses the plane of `axis`
            for q in range(2):
                axis, alpha, slope = start_axis, start, -scale * value_low
                if q == 1:
                    axis, alpha, slope = end_axis, end, scale * value_high
                if axis == a:
                    continue
                g[a] += slope
                g[3 + a] += slope * alpha
                if axis >= 0:
                    g[axis] -= slope * d_a / d[axis]
                    g[3 + axis] -= slope * alpha * d_a / d[axis]


@compiled(nogil=True)
def pose_gradient(gradient, image_gradient, first_row, last_row, result):
    """Gradient of a loss by the ray frame from the rows [first_row, last_row).

    Args:
        gradient: (rows, columns, 6) of `project_rows`.
        image_gradient: (rows, columns) gradient of the loss by the image.
        result: (4, 3) float64, written.
    """
    result[:] = 0
    for i in range(first_row, last_row):
        for j in range(gradient.shape[1]):
            weight = image_gradient[i, j]
            for axis in range(3):
                by_direction = weight * gradient[i, j, 3 + axis]
                result[0, axis] += weight * gradient[i, j, axis] - by_direction
                result[1, axis] += by_direction
                result[2, axis] += j * by_direction
                result[3, axis] += i * by_direction


@compiled(nogil=True)
def spread_slices(result, shape, frame, metric, image_gradient, axis, first_slice, last_slice):
    """Adds the gradient by the volume that comes from the slices [first_slice, last_slice) of ``axis`` in one view.

    Only rays whose dominant axis is ``axis`` are walked; they touch only voxels of these slices, so calls for different
    slices can run side by side, and the order of the sums, thus the result, does not depend on the number of threads.

    Args:
        result: (X * Y * Z,) float32 or float64, added to.
        image_gradient: (rows, columns) gradient of the loss by the image.
    """
    kind = result.dtype.type
    n = (shape[0], shape[1], shape[2])
    strides = (n[1] * n[2], n[2], 1)
    s = (frame[0, 0], frame[0, 1], frame[0, 2])
    for i in range(image_gradient.shape[0]):
        for j in range(image_gradient.shape[1]):
            d = ray_direction(frame, i, j)
            a, b, c = axes_of(d)
            if a != axis or image_gradient[i, j] == 0 or abs(d[a]) < PARALLEL:
                continue
            start, end, _, _ = clip(s, d, n, 0.0)
            if start >= end:
                continue
            inverse = 1.0 / d[a]
            low, high = s[a] + start * d[a], s[a] + end * d[a]
            if low > high:
                low, high = high, low
            first, last, end_slices, weights, _, _ = end_weights(low, high, n[a])
            length, _ = metric_length(d, metric)
            scale = length * abs(inverse) * image_gradient[i, j]
            for k in range(max(end_slices[0], first_slice), min(end_slices[3] + 1, last_slice)):
                share = 1.0 if first <= k <= last else 0.0
                for q in range(4):
                    if end_slices[q] == k:
                        share += weights[q]
                alpha = (k - s[a]) * inverse
                u, v = kind(s[b] + alpha * d[b]), kind(s[c] + alpha * d[c])
                offset, step_u, step_v, fu, fv, _, _ = rim_neighbours(u, v, n[b], n[c], strides[b], strides[c])
                weight = kind(scale * share)
                offset += k * strides[a]
                one = kind(1)
                result[offset] += weight * (one - fu) * (one - fv)
                result[offset + step_u] += weight * fu * (one - fv)
                result[offset + step_v] += weight * (one - fu) * fv
                result[offset + step_u + step_v] += weight * fu * fv


@compiled(nogil=True)
def dominant_axes(frame, rows, columns):
    """Which axes are the dominant one of some ray of a view, three flags."""
    found = (False, False, False)
    for i in range(rows):
        for j in range(columns):
            a, _, _ = axes_of(ray_direction(frame, i, j))
            found = (found[0] or a == 0, found[1] or a == 1, found[2] or a == 2)
    return found
