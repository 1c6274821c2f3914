"""One picture of a head and neck with its organs: coronal, sagittal, four axial planes, and what the colours mean."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from PIL import Image, ImageDraw, ImageFont

from .organs import PHANTOMS, OrganTable
from .shared.geometry.frames import transform_points
from .shared.geometry.grids import to_grid, volume_affine
from .shared.geometry.volume_box import cut_box, volume_bounds
from .shared.pictures.volume_preview import ENDS, draw_plane, plane, to_grey

STEP_MM = 1.0
SCALE = 1.5  # pixels of the picture per mm
MARGIN_MM = 30.0  # around the organs
GAP = 6
LONGEST_LINE = 160  # characters of the title
HIGHEST, LOWEST = 0.85, 0.2  # heights between which axial planes lie that none of their organs places
PLANES = 4  # where the table of organs names none


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def shown_part(ct: MetaTensor, labels: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels (X, Y, Z) around the organs, voxels of STEP_MM, axes to the left, the back and the head."""
    low, high = volume_bounds(ct)
    found = np.argwhere(labels.as_tensor()[0].cpu().numpy() > 0) if bool((labels > 0).any()) else None
    if found is not None:
        affine = volume_affine(labels)
        ends = np.stack([found.min(axis=0), found.max(axis=0)])
        corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
        places = transform_points(affine, corners)
        low = np.maximum(low, places.min(axis=0) - MARGIN_MM)
        high = np.minimum(high, places.max(axis=0) + MARGIN_MM)
    parts = [
        to_grid(cut_box(volume, low, high), STEP_MM, labels=marks).as_tensor()[0].cpu().numpy()
        for volume, marks in ((ct, False), (labels, True))
    ]
    return parts[0][::-1, ::-1], parts[1][::-1, ::-1]


def axial_levels(labels: np.ndarray, planes: Sequence[Sequence[int]]) -> list[int]:
    """Index along the last axis of each axial plane, from the head down.

    Args:
        labels: (X, Y, Z).
        planes: numbers of the organs that each plane is chosen for, which is the one that shows most of them.
    """
    levels = []
    for organs, height in zip(planes, np.linspace(HIGHEST, LOWEST, len(planes)), strict=True):
        # every organ counts the same, or the largest would choose alone
        shares = np.zeros(labels.shape[2])
        for organ in organs:
            area = np.count_nonzero(labels == organ, axis=(0, 1))
            shares += area / max(1, area.max())
        levels.append(int(shares.argmax()) if shares.any() else int(height * (labels.shape[2] - 1)))
    return levels


def panel(grey: np.ndarray, labels: np.ndarray, name: str, table: OrganTable) -> Image.Image:
    """One plane (down, right), enlarged, organs tinted and outlined, with the letters of its sides."""
    image = draw_plane(grey, labels, None, (grey.shape[1], grey.shape[0]), SCALE, tint=0.3, colours=table.colours)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    places = [(3, height // 2), (width - 12, height // 2), (width // 2, 1), (width // 2, height - 15)]
    for letter, place in zip(ENDS[name], places, strict=True):
        draw.text(place, letter, fill=(120, 200, 255), font=font(12))
    return image


def legend(present: Sequence[int], height: int, table: OrganTable) -> Image.Image:
    """The names of organs in their colours, in columns; those learned from phantoms alone with a star."""
    line, per_column = 16, max(1, (height - 8) // 16)
    columns = -(-max(1, len(present)) // per_column)
    picture = Image.new("RGB", (columns * 140, height), (30, 30, 30))
    draw = ImageDraw.Draw(picture)
    for place, number in enumerate(present):
        x, y = 140 * (place // per_column) + 4, line * (place % per_column) + 4
        organ = table.organ(number)
        draw.rectangle([x, y + 2, x + 10, y + 12], fill=organ.colour)
        name = f"{organ.name} *" if organ.learned_from == PHANTOMS else organ.name
        draw.text((x + 16, y), name, fill=(235, 235, 235), font=font(12))
    return picture


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures side by side."""
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    joined = Image.new("RGB", (width, max(picture.height for picture in pictures)), (30, 30, 30))
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width + GAP
    return joined


def han_picture(
    ct: MetaTensor,
    labels: MetaTensor,
    table: OrganTable,
    title: Sequence[str] = (),
    window: tuple[float, float] | None = None,
) -> Image.Image:
    """Planes of a CT with outlined organs; the patient's left is at the right of the picture.

    Args:
        ct: (1, X, Y, Z) with its affine (RAS mm), in any orientation.
        labels: on the same grid, numbers of the table.
        table: names and colours of the organs.
        title: lines above.
        window: lowest and highest value shown; None for the first window of the table.
    """
    hu, marks = shown_part(ct, labels)
    grey = to_grey(hu, window or table.windows_hu[0])

    def cut(name: str, index: int) -> Image.Image:
        return panel(plane(grey, name, index), plane(marks, name, index), name, table)

    middle = [int(size // 2) for size in hu.shape]
    if marks.any():
        found = np.argwhere(marks)
        middle = [int(n) for n in np.median(found, axis=0)]
    long = [cut("coronal", middle[1]), cut("sagittal", middle[0])]
    present = [int(n) for n in np.unique(marks) if n]
    top = beside([*long, legend(present, long[0].height, table)] if present else long)
    planes = table.axial_planes or ((),) * PLANES
    bottom = beside([cut("axial", level) for level in axial_levels(marks, planes)])
    lines = [part for line in title for part in textwrap.wrap(line, LONGEST_LINE)]
    head = 18 * len(lines) + (6 if lines else 0)
    width = max([top.width, bottom.width, *[int(font(13).getlength(line)) + 12 for line in lines]])
    picture = Image.new("RGB", (width, head + top.height + GAP + bottom.height), (30, 30, 30))
    picture.paste(top, (0, head))
    picture.paste(bottom, (0, head + top.height + GAP))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((6, 4 + 18 * number), line, fill=(255, 255, 255), font=font(13))
    return picture
