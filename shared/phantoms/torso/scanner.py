"""What the scanner makes of a patient: sharpness, noise, metal artefacts, table, field of view, array orientation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter1d

from ...geometry.hounsfield import HIGHEST_HU, LOWEST_HU
from ..sdf import Array
from .canvas import TISSUES, Voxels


@dataclass(frozen=True)
class Scanner:
    """Settings of one acquisition."""

    blur_mm: float  # standard deviation of the point spread function
    noise_hu: float
    grain_mm: float  # correlation length of the noise
    table: bool
    circle: bool  # whether outside of the reconstruction circle is empty


def random_scanner(spacing: Array, rng: np.random.Generator) -> Scanner:
    """Draw a scanner; noise falls with voxel size."""
    coarse = float(np.prod(spacing)) ** (1 / 6)
    return Scanner(
        blur_mm=float(rng.uniform(0.6, 1.1)),
        noise_hu=float(np.clip(rng.lognormal(np.log(20.0 / coarse), 0.45), 4.0, 60.0)),
        grain_mm=float(rng.uniform(0.5, 1.1)),
        table=bool(rng.uniform() < 0.85),
        circle=bool(rng.uniform() < 0.3),
    )


def paint_table(canvas: Voxels, back: float, rng: np.random.Generator) -> None:
    """A curved shell below the patient with a foam mattress."""
    top = back - rng.uniform(4, 14)
    bend = rng.uniform(0.0, 0.0012)
    width = rng.uniform(190, 230)
    y = top + bend * canvas.axes[0] ** 2 - canvas.axes[1]  # depth below the surface
    inside = np.abs(canvas.axes[0]) < width
    thick = rng.uniform(35, 55)
    shell = rng.uniform(-300, 100)
    for low, high, hu in ((0.0, 2.5, shell), (2.5, thick, -930.0), (thick, thick + 2.5, shell)):
        part = np.clip(0.5 + (y - low) / canvas.voxel, 0, 1) * np.clip(0.5 - (y - high) / canvas.voxel, 0, 1) * inside
        rows = np.flatnonzero(part.max(axis=(0, 2)) > 0)
        if not len(rows):
            continue
        at = slice(rows[0], rows[-1] + 1)
        free = canvas.tissues[:, at] == 0
        canvas.hu[:, at] += part[:, at] * free * (hu - canvas.hu[:, at])
        canvas.tissues[:, at][free & (part[:, at] > 0.5)] = TISSUES["table"]


def metal_streaks(hu: Array, metal: Array, spacing: Array, rng: np.random.Generator) -> None:
    """Dark bands between and beside metal parts and bright rims, in place; strongest along left-right."""
    if not metal.any():
        return
    slices = np.flatnonzero(metal.any(axis=(0, 1)))
    at = slice(slices[0], slices[-1] + 1)
    mask = metal[..., at].astype(np.float32)
    along = uniform_filter1d(mask, max(int(90 / spacing[0]), 3), axis=0)
    along = gaussian_filter1d(along, 1.5 / spacing[1], axis=1)
    across = uniform_filter1d(mask, max(int(50 / spacing[1]), 3), axis=1)
    strength = rng.uniform(600, 1500)
    hu[..., at] += (1 - mask) * strength * (0.35 * across - along)


def expose(canvas: Voxels, scanner: Scanner, shape: tuple[int, int, int], rng: np.random.Generator) -> Array:
    """The image (X, Y, Z) in HU of the scanner's voxels; the canvas may be finer by whole factors."""
    hu = canvas.hu
    metal_streaks(hu, canvas.tissues == TISSUES["metal"], canvas.spacing, rng)
    hu = gaussian_filter(hu, scanner.blur_mm / canvas.spacing, truncate=3.0)
    factors = [fine // coarse for fine, coarse in zip(canvas.shape, shape, strict=True)]
    for axis, factor in enumerate(factors):
        if factor > 1:
            split = (*hu.shape[:axis], shape[axis], factor, *hu.shape[axis + 1 :])
            hu = hu.reshape(split).mean(axis=axis + 1)
    spacing = canvas.spacing * factors
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = gaussian_filter(noise, scanner.grain_mm / spacing, truncate=3.0)
    hu += scanner.noise_hu / max(float(noise[::4, ::4].std()), 1e-6) * noise
    return np.clip(hu, LOWEST_HU, HIGHEST_HU)


def cut_circle(hu: Array, spacing: Array) -> None:
    """Empty the corners outside the largest circle of a slice, in place."""
    x = (np.arange(hu.shape[0]) - (hu.shape[0] - 1) / 2)[:, None] * spacing[0]
    y = (np.arange(hu.shape[1]) - (hu.shape[1] - 1) / 2)[None, :] * spacing[1]
    radius = max(hu.shape[0] * spacing[0], hu.shape[1] * spacing[1]) / 2
    hu[x * x + y * y > radius * radius] = LOWEST_HU


def orientation_codes() -> tuple[str, ...]:
    """All 48 axis orders and directions, such as "RAS"."""
    pairs = ("RL", "AP", "SI")
    return tuple("".join(letters) for order in itertools.permutations(pairs) for letters in itertools.product(*order))


def reorient(array: Array, affine: Array, codes: str) -> tuple[Array, Array]:
    """A RAS array and its affine in another axis order; the world positions of all voxels stay."""
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = nib.orientations.apply_orientation(array, change)
    return np.ascontiguousarray(turned), affine @ nib.orientations.inv_ornt_aff(change, array.shape)
