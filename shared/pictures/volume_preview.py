"""One picture of a volume: its axial, coronal and sagittal plane with outlines of labels."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw

BONE_WINDOW = (-300.0, 1200.0)
PLANE_PIXELS = 420  # of the longest side of a plane
GAP = 6
PLANE_AXES = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}  # right, down, through; of (x, y, z)
ENDS = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}


def label_colour(label: int) -> tuple[int, int, int]:
    """A bright colour for a label; those of neighbouring numbers differ much (golden angle on the colour circle)."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + 0.381966 * (label - 1)) % 1.0, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def to_grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Values as (…) uint8 within a window (low, high)."""
    low, high = window
    return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def outlines(labels: np.ndarray) -> np.ndarray:
    """The labels (H, W) of the pixels at the inner border of each label; 0 elsewhere."""
    padded = np.pad(labels, 1)
    inner = np.ones(labels.shape, dtype=bool)
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        inner &= neighbour == labels
    return np.where(inner, 0, labels)


def plane(volume: np.ndarray, name: str, index: int) -> np.ndarray:
    """A plane (down, right) of a volume (X, Y, Z) whose axes run to the left, the back and the head; head up."""
    right, down, through = PLANE_AXES[name]
    cut = np.take(volume, index, axis=through)
    cut = cut if right < down else cut.T
    return cut.T[::-1] if down == 2 else cut.T


def draw_plane(
    grey: np.ndarray,
    labels: np.ndarray | None,
    others: np.ndarray | None,
    size: tuple[float, float],
    scale: float,
    tint: float = 0.0,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
) -> Image.Image:
    """One plane enlarged, outlines one pixel of the picture wide.

    Args:
        grey: (H, W) uint8.
        labels: (H, W), outlined in colours.
        others: (H, W), outlined in white.
        size: (width, height) of the plane, mm or its own pixels.
        scale: pixels of the picture per unit of the size.
        tint: share of its colour inside of a label.
        colours: of the labels; :func:`label_colour` where None.
    """
    pixels = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    picture = np.array(Image.fromarray(grey).resize(pixels, Image.Resampling.BILINEAR).convert("RGB"))
    rows = (np.arange(pixels[1]) * grey.shape[0]) // pixels[1]
    columns = (np.arange(pixels[0]) * grey.shape[1]) // pixels[0]
    if others is not None:
        picture[outlines(others[np.ix_(rows, columns)]) > 0] = 255
    if labels is not None:
        enlarged = labels[np.ix_(rows, columns)]
        border = outlines(enlarged)
        for label in np.unique(border[border > 0]):
            colour = np.array(label_colour(int(label)) if colours is None else colours[int(label)])
            inside = enlarged == label
            picture[inside] = ((1 - tint) * picture[inside] + tint * colour).astype(np.uint8)
            picture[border == label] = colour
    return Image.fromarray(picture)


def three_planes(
    image: sitk.Image,
    labels: sitk.Image | None = None,
    others: sitk.Image | None = None,
    window: tuple[float, float] = BONE_WINDOW,
    title: str = "",
) -> Image.Image:
    """The axial, coronal and sagittal plane with the most labelled voxels, the patient's left at the right.

    Args:
        image: intensities, in any direction.
        labels: label map on the same grid, outlined in colours.
        others: label map on the same grid to compare with, outlined in white.
        window: lowest and highest intensity shown.
        title: written above.
    """
    oriented = [None if item is None else sitk.DICOMOrient(item, "LPS") for item in (image, labels, others)]
    volume, marks, comparison = (None if item is None else sitk.GetArrayViewFromImage(item).T for item in oriented)
    assert volume is not None and oriented[0] is not None
    spacing = oriented[0].GetSpacing()
    extent = np.array(volume.shape) * spacing
    scale = PLANE_PIXELS / extent.max()
    panels = []
    for name, (right, down, through) in PLANE_AXES.items():
        index = volume.shape[through] // 2
        if marks is not None and marks.any():
            index = int(np.count_nonzero(marks, axis=(right, down)).argmax())
        outlined, white = (None if item is None else plane(item, name, index) for item in (marks, comparison))
        grey = to_grey(plane(volume, name, index), window)
        panel = draw_plane(grey, outlined, white, (extent[right], extent[down]), scale)
        draw = ImageDraw.Draw(panel)
        middle = (panel.width // 2 - 3, panel.height // 2 - 6)
        left, end, top, bottom = ENDS[name]
        places = [(2, middle[1]), (panel.width - 9, middle[1]), (middle[0], 1), (middle[0], panel.height - 13)]
        for letter, place in zip((left, end, top, bottom), places, strict=True):
            draw.text(place, letter, fill=(120, 200, 255))
        panels.append(panel)
    head = 18 if title else 0
    width = max(sum(panel.width for panel in panels) + GAP * (len(panels) - 1), 6 * len(title) + 8)
    picture = Image.new("RGB", (width, max(panel.height for panel in panels) + head), (30, 30, 30))
    left_edge = 0
    for panel in panels:
        picture.paste(panel, (left_edge, head))
        left_edge += panel.width + GAP
    ImageDraw.Draw(picture).text((4, 3), title, fill=(255, 255, 255))
    return picture
