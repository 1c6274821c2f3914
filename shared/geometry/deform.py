"""Affine and cubic B-spline deformation of an image and its points together, in 2-D and 3-D.

A deformation maps output indices to input indices, ``T(x) = A (x + u(x)) + t``, where ``u`` is a cubic B-spline on a
coarse grid of control points that spans the output. The image is sampled at ``T(x)``; points need the inverse, which is
found by fixed-point iteration (it converges because ``u`` changes by less than one pixel per pixel).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def bspline_basis(positions: Tensor, size: int, controls: int) -> Tensor:
    """Values of the cubic B-splines at positions along one axis.

    Args:
        positions: (N,) indices along an axis of ``size`` pixels; positions outside are clamped to the axis.
        size: number of pixels of the axis.
        controls: number of control points (at least 4); the first and last lie one cell outside the axis.

    Returns:
        (N, controls); rows sum to 1.
    """
    cells = controls - 3
    u = positions.clamp(0, size - 1) / (size - 1) * cells + 1  # control-point coordinate, 1 .. controls - 2
    distance = (u[:, None] - torch.arange(controls, dtype=u.dtype, device=u.device)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


@dataclass(frozen=True)
class Deformation:
    """Map from output to input indices.

    Attributes:
        matrix: (D, D + 1), ``[A | t]``, input = A (output + u) + t.
        controls: (D, C1, .., CD) displacements in output pixels of the control points, or None.
        output_shape: D sizes of the output.
    """

    matrix: Tensor
    controls: Tensor | None
    output_shape: tuple[int, ...]

    def displacement(self, points: Tensor) -> Tensor:
        """u at output points (N, D), in output pixels."""
        if self.controls is None:
            return torch.zeros_like(points)
        values = self.controls.to(points)
        for axis, size in enumerate(self.output_shape):
            basis = bspline_basis(points[:, axis], size, self.controls.shape[axis + 1])
            # first axis: (D, C1, ...) -> (N, D, C2, ...); later axes: (N, D, Ck, ...) -> (N, D, ...)
            values = (
                torch.einsum("nc,dc...->nd...", basis, values)
                if axis == 0
                else torch.einsum("nc,ndc...->nd...", basis, values)
            )
        return values

    def to_input(self, points: Tensor) -> Tensor:
        """Input indices (N, D) of output indices (N, D)."""
        matrix = self.matrix.to(points)
        return (points + self.displacement(points)) @ matrix[:, :-1].T + matrix[:, -1]

    def to_output(self, points: Tensor, iterations: int = 30) -> Tensor:
        """Output indices (N, D) of input indices (N, D); NaN stays NaN."""
        matrix = self.matrix.double()
        straight = torch.linalg.solve(matrix[:, :-1], (points.double() - matrix[:, -1]).T).T
        found = straight
        if self.controls is not None:
            for _ in range(iterations):
                found = straight - self.displacement(found)
        return found.to(points.dtype)

    def grid(self) -> Tensor:
        """Input index of every output pixel, (*output_shape, D)."""
        dims = len(self.output_shape)
        matrix = self.matrix.float()
        axes = [torch.arange(size, dtype=torch.float32) for size in self.output_shape]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        if self.controls is not None:
            field = self.controls.float()
            for axis, size in enumerate(self.output_shape):
                basis = bspline_basis(axes[axis], size, self.controls.shape[axis + 1])
                field = torch.movedim(torch.tensordot(basis, field, dims=([1], [axis + 1])), 0, axis + 1)
            points = points + torch.movedim(field, 0, dims)
        return points @ matrix[:, :-1].T + matrix[:, -1]

    def apply(self, image: Tensor, mode: str = "bilinear", padding_mode: str = "zeros") -> Tensor:
        """Resample an image (C, *spatial) to (C, *output_shape)."""
        return sample(image[None], self.grid()[None], mode, padding_mode)[0]


def sample(images: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros") -> Tensor:
    """Values of images (B, C, *spatial) at array indices ``grid`` (B, *output, D) -> (B, C, *output)."""
    sizes = torch.tensor(images.shape[2:], dtype=grid.dtype, device=grid.device)
    # align_corners=True makes -1 and 1 the centres of the first and last pixel; grid_sample wants the last axis first.
    normalized = (2 * grid / (sizes - 1) - 1).flip(-1)
    return F.grid_sample(images, normalized.to(images.dtype), mode=mode, padding_mode=padding_mode, align_corners=True)


def random_controls(
    generator: torch.Generator, dims: int, grid: int, magnitude: float, output_shape: tuple[int, ...]
) -> Tensor:
    """Uniform displacements in +-``magnitude`` output pixels of ``grid`` control points per axis (D, grid + 2, ...).

    Raises:
        ValueError: if the magnitude could fold the image (more than 0.4 of the distance between control points).
    """
    spacing = min(output_shape) / (grid - 1)
    if magnitude > 0.4 * spacing:
        raise ValueError(f"displacements of {magnitude:.1f} px fold a grid with {spacing:.1f} px between its points")
    shape = (dims, *[grid + 2] * dims)
    return (2 * torch.rand(shape, generator=generator) - 1) * magnitude
