"""Pictures of a result: bones over the radiograph, and discs that viewers show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

MAX_PICTURE = 1024


def draw_overlay(
    original: np.ndarray,
    points: np.ndarray,
    confidence: np.ndarray,
    bones: Sequence[tuple[int, int]],
    sure: float,
    radii: np.ndarray | None = None,
) -> Image.Image:
    """Picture of the bones over the radiograph.

    Args:
        original: (X, Y) grey values of the file.
        points: (K, 2) pixels of the file.
        confidence: (K,).
        bones: pairs of points to join.
        sure: points of a lower confidence are red.
        radii: (K,) pixels of the file, drawn as circles.

    Returns:
        PIL image, long edge at most ``MAX_PICTURE``.
    """
    low, high = np.percentile(original, [0.5, 99.5])
    grey = np.clip((original - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = Image.fromarray(grey.T.astype(np.uint8)).convert("RGB")
    scale = min(1.0, MAX_PICTURE / max(picture.size))
    if scale < 1:
        picture = picture.resize([max(1, round(size * scale)) for size in picture.size], Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    drawn = (points + 0.5) * scale - 0.5
    unit = max(1.0, max(picture.size) / 512)
    for first, second in bones:
        draw.line([*drawn[first], *drawn[second]], fill=(80, 160, 255), width=round(unit))
    for (x, y), trust in zip(drawn, confidence, strict=True):
        colour = (255, 60, 60) if trust < sure else (255, 210, 0)
        radius = 2.2 * unit
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=round(unit))
    for (x, y), radius in zip(drawn, [] if radii is None else radii * scale, strict=False):
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=(70, 200, 120), width=1)
    return picture


def landmark_map(points: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """Discs around the landmarks, numbered from 1: (X, Y) uint8.

    Args:
        points: (K, 2) pixels.
        shape: (X, Y) of the map.
        radius: of the discs in pixels.
    """
    labels = np.zeros(shape, dtype=np.uint8)
    for index, point in enumerate(points):
        if not np.isfinite(point).all():
            continue
        low = np.maximum(np.floor(point - radius).astype(int), 0)
        high = np.minimum(np.ceil(point + radius).astype(int) + 1, shape)
        if (high <= low).any():
            continue
        x, y = np.ogrid[low[0] : high[0], low[1] : high[1]]
        labels[low[0] : high[0], low[1] : high[1]][(x - point[0]) ** 2 + (y - point[1]) ** 2 <= radius**2] = index + 1
    return labels
