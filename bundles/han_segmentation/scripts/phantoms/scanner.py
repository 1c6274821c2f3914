"""What the scanners make of a patient: sharpness, noise, streaks, coil profile, and the couch."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter1d, zoom

from ..shared.phantoms.sdf import Array

MR_WHITE = 900.0  # stored value of fat


def smooth_field(shape: tuple[int, ...], knots: int, rng: np.random.Generator) -> Array:
    """A field (X, Y, Z) of standard deviation about 1 that changes little within 1 / knots of the image."""
    coarse = rng.normal(size=(knots + 3,) * 3).astype(np.float32)
    field = zoom(coarse, [size / (knots + 3) for size in shape], order=3, mode="nearest", grid_mode=True)
    return field[tuple(slice(0, size) for size in shape)]


def paint_couch(values: Array, y_mm: Array, back_mm: float) -> None:
    """A shell of carbon fibre filled with foam below the head, in place.

    Args:
        values: HU (X, Y, Z), air where the couch goes.
        y_mm: height of the rows (Y,), forwards.
        back_mm: height of the patient's back.
    """
    for low, high, hu in ((-4.0, 0.0, -250.0), (-30.0, -4.0, -930.0), (-34.0, -30.0, -250.0)):
        rows = (y_mm >= back_mm + low) & (y_mm < back_mm + high)
        part = values[:, rows]
        values[:, rows] = np.where(part < -990, hu, part)


def expose_ct(values: Array, spacing: Array, rng: np.random.Generator) -> Array:
    """HU as stored, int16: point spread, grain, streaks from metal."""
    metal = values > 2700
    blurred = gaussian_filter(values, 0.7 / spacing, truncate=3.0)
    slices = np.flatnonzero(metal.any(axis=(0, 1)))
    if len(slices):
        at = slice(int(slices[0]), int(slices[-1]) + 1)
        mask = metal[..., at].astype(np.float32)
        along = uniform_filter1d(mask, max(int(110 / spacing[0]), 3), axis=0)
        across = uniform_filter1d(mask, max(int(60 / spacing[1]), 3), axis=1)
        streaks = rng.uniform(300, 900) * (0.5 * across - gaussian_filter1d(along, 1.5 / spacing[1], axis=1))
        blurred[..., at] += (1 - mask) * streaks
    noise = gaussian_filter(rng.standard_normal(values.shape, dtype=np.float32), 0.7 / spacing, truncate=2.5)
    blurred += rng.uniform(5, 22) / max(float(noise[::4, ::4].std()), 1e-6) * noise
    return np.clip(np.round(blurred), -1024, 3071).astype(np.int16)


def expose_mr(values: Array, spacing: Array, rng: np.random.Generator) -> Array:
    """T1 as stored, int16: point spread, profile of the coil, Rician noise."""
    blurred = gaussian_filter(values, 0.7 / spacing, truncate=3.0)
    blurred *= np.exp(0.16 * smooth_field(values.shape, 1, rng))
    level = rng.uniform(0.01, 0.035)
    real, imaginary = (level * rng.standard_normal(values.shape, dtype=np.float32) for _ in range(2))
    magnitude = np.hypot(blurred + real, imaginary)
    return np.round(rng.uniform(0.5, 1.5) * MR_WHITE * magnitude).astype(np.int16)
