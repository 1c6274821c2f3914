"""Pictures of a spine: its coronal and sagittal plane, bent so that they follow the vertebrae, with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image, ImageDraw, ImageFont

from ..geometry.frames import transform_points
from ..geometry.grids import to_grid, volume_affine
from ..geometry.hounsfield import LOWEST_HU
from ..geometry.volume_box import cut_box, volume_bounds
from ..pictures.volume_preview import BONE_WINDOW, draw_plane, label_colour, to_grey
from .crops import sample_indices
from .labels import SPINE_NAMES

STEP_MM = 1.0
ACROSS_MM = 90.0  # shown to either side of the spine
BEYOND_MM = 60.0  # shown above the first and below the last point
LONGEST = 1100  # pixels of the long side
GAP = 8


def follow(points: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Position (N, 2) in x and y of the spine at heights (N,): straight between points (K, 3), level beyond them."""
    ordered = points[np.argsort(points[:, 2])]
    return np.stack([np.interp(heights, ordered[:, 2], ordered[:, axis]) for axis in (0, 1)], axis=1)


def bent_plane(volume: MetaTensor, path: np.ndarray, heights: np.ndarray, axis: int, labels: bool) -> np.ndarray:
    """Plane (heights, across) through a spine.

    Args:
        volume: (1, X, Y, Z) in any orientation.
        path: (N, 2), x and y in RAS mm at each height.
        heights: (N,) RAS mm.
        axis: 0 for the coronal plane (x runs across), 1 for the sagittal one.
        labels: nearest voxel.
    """
    across = np.arange(-ACROSS_MM, ACROSS_MM + STEP_MM / 2, STEP_MM)
    points = np.empty((len(heights), len(across), 1, 3))
    points[..., 2] = heights[:, None, None]
    points[..., :2] = path[:, None, None]
    points[..., axis] += across[None, :, None]
    inverse = np.linalg.inv(volume_affine(volume))
    indices = torch.as_tensor(transform_points(inverse, points), dtype=torch.float32)
    fill = 0.0 if labels else LOWEST_HU
    return sample_indices(volume, indices, fill, labels)[0, :, :, 0].cpu().numpy()


def draw_panel(
    grey: np.ndarray, labels: np.ndarray | None, marks: Sequence[tuple[float, float, str, int]], scale: float
) -> Image.Image:
    """One plane with outlines, points and names.

    Args:
        grey: (H, W) uint8, head up.
        labels: (H, W) outlined.
        marks: column, row, name, label of each point.
        scale: pixels of the picture per pixel of the plane.
    """
    image = draw_plane(grey, labels, None, (grey.shape[1], grey.shape[0]), scale, tint=0.28)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12)
    for column, row, name, label in marks:
        x, y, ink = (column + 0.5) * scale, (row + 0.5) * scale, label_colour(label)
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=ink, outline=(0, 0, 0))
        draw.text((x + 6, y - 7), name, fill=ink, font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    return image


def spine_picture(
    volume: MetaTensor,
    points: Mapping[int, np.ndarray],
    labels: MetaTensor | None = None,
    title: str = "",
    window: tuple[float, float] = BONE_WINDOW,
) -> Image.Image:
    """Coronal (seen from the front) and sagittal plane (seen from the patient's right) that follow the spine.

    Args:
        volume: (1, X, Y, Z) HU in any orientation.
        points: label to body centre (3,) in RAS mm, at least one.
        labels: label map on the grid of the CT.
        title: written above; one line per sentence.
        window: lowest and highest HU.
    """
    places = np.array(list(points.values()))
    low, high = volume_bounds(volume)
    bottom = max(float(places[:, 2].min()) - BEYOND_MM, float(low[2]))
    top = min(float(places[:, 2].max()) + BEYOND_MM, float(high[2]))
    heights = np.arange(top, bottom, -STEP_MM)
    path = follow(places, heights)
    reach = np.array([ACROSS_MM + 5, ACROSS_MM + 5, 5])
    near, far = np.append(path.min(axis=0), bottom) - reach, np.append(path.max(axis=0), top) + reach
    working = to_grid(cut_box(volume, near, far), STEP_MM)
    scale = float(np.clip(LONGEST / len(heights), 1.0, 4.0))
    panels = []
    for axis in (0, 1):
        plane = bent_plane(working, path, heights, axis, labels=False)
        marked = None if labels is None else bent_plane(labels, path, heights, axis, labels=True)
        marks = [
            (ACROSS_MM / STEP_MM, (top - float(point[2])) / STEP_MM, SPINE_NAMES[label], label)
            for label, point in points.items()
        ]
        if axis == 0:  # the patient's left at the right of the picture
            plane, marked = plane[:, ::-1], None if marked is None else marked[:, ::-1]
        panel = draw_panel(to_grey(plane, window), marked, marks, scale)
        left, right = ("R", "L") if axis == 0 else ("P", "A")
        draw, middle = ImageDraw.Draw(panel), panel.height // 2
        for letter, x in ((left, 3), (right, panel.width - 12)):
            draw.text((x, middle), letter, fill=(120, 200, 255), font=ImageFont.load_default(13))
        panels.append(panel)
    return join(panels, title)


def join(panels: Sequence[Image.Image], title: str) -> Image.Image:
    """Panels side by side below lines of text."""
    font = ImageFont.load_default(12)
    lines = [line for line in title.split("\n") if line]
    head = 17 * len(lines) + (5 if lines else 0)
    width = sum(panel.width for panel in panels) + GAP * (len(panels) - 1)
    width = max([width, *[int(font.getlength(line)) + 10 for line in lines]])
    picture = Image.new("RGB", (width, max(panel.height for panel in panels) + head), (30, 30, 30))
    left = 0
    for panel in panels:
        picture.paste(panel, (left, head))
        left += panel.width + GAP
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((5, 3 + 17 * number), line, fill=(255, 255, 255), font=font)
    return picture
