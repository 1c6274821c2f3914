"""One picture of a head and neck with its organs: coronal, sagittal, four axial planes, and what the colours mean."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from PIL import Image, ImageDraw, ImageFont

from .organs import NAMES, NUMBERS
from .shared.geometry.grids import to_grid, volume_affine
from .shared.geometry.volume_box import cut_box, volume_bounds
from .shared.pictures.volume_preview import ENDS, draw_plane, label_colour, plane, to_grey

WINDOW = (-160.0, 240.0)  # soft tissue
STEP_MM = 1.0
SCALE = 1.5  # pixels of the picture per mm
MARGIN_MM = 30.0  # around the organs
GAP = 6
LONGEST_LINE = 160  # characters of the title
# each axial plane is the one that shows most of some organs, from the head down
LEVELS: tuple[tuple[str, ...], ...] = (
    ("OpticChiasm", "OpticNrv_L", "OpticNrv_R", "Glnd_Lacrimal_L", "Glnd_Lacrimal_R", "Eye_AL", "Eye_AR"),
    ("Cochlea_L", "Cochlea_R", "Parotid_L", "Parotid_R", "Brainstem"),
    ("Bone_Mandible", "Cavity_Oral", "BuccalMucosa", "Glnd_Submand_L", "Glnd_Submand_R"),
    ("Glottis", "Arytenoid", "Larynx_SG", "Glnd_Thyroid", "A_Carotid_L", "A_Carotid_R"),
)
EVENLY = (0.85, 0.65, 0.45, 0.2)  # heights of the same planes where none of the organs occurs


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
        places = corners @ affine[:3, :3].T + affine[:3, 3]
        low = np.maximum(low, places.min(axis=0) - MARGIN_MM)
        high = np.minimum(high, places.max(axis=0) + MARGIN_MM)
    parts = [
        to_grid(cut_box(volume, low, high), STEP_MM, labels=marks).as_tensor()[0].cpu().numpy()
        for volume, marks in ((ct, False), (labels, True))
    ]
    return parts[0][::-1, ::-1], parts[1][::-1, ::-1]


def axial_levels(labels: np.ndarray) -> list[int]:
    """Index along the last axis of each axial plane, from the head down."""
    levels = []
    for names, height in zip(LEVELS, EVENLY, strict=True):
        organs = [NUMBERS[name] for name in names]
        # every organ counts the same, or the largest would choose alone
        shares = np.zeros(labels.shape[2])
        for organ in organs:
            area = np.count_nonzero(labels == organ, axis=(0, 1))
            shares += area / max(1, area.max())
        levels.append(int(shares.argmax()) if shares.any() else int(height * (labels.shape[2] - 1)))
    return levels


def panel(grey: np.ndarray, labels: np.ndarray, name: str) -> Image.Image:
    """One plane (down, right), enlarged, organs tinted and outlined, with the letters of its sides."""
    image = draw_plane(grey, labels, None, (grey.shape[1], grey.shape[0]), SCALE, tint=0.3)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    places = [(3, height // 2), (width - 12, height // 2), (width // 2, 1), (width // 2, height - 15)]
    for letter, place in zip(ENDS[name], places, strict=True):
        draw.text(place, letter, fill=(120, 200, 255), font=font(12))
    return image


def legend(present: Sequence[int], height: int) -> Image.Image:
    """The names of organs in their colours, in columns."""
    line, per_column = 16, max(1, (height - 8) // 16)
    columns = -(-max(1, len(present)) // per_column)
    picture = Image.new("RGB", (columns * 140, height), (30, 30, 30))
    draw = ImageDraw.Draw(picture)
    for place, number in enumerate(present):
        x, y = 140 * (place // per_column) + 4, line * (place % per_column) + 4
        draw.rectangle([x, y + 2, x + 10, y + 12], fill=label_colour(number))
        draw.text((x + 16, y), NAMES[number], fill=(235, 235, 235), font=font(12))
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
    ct: MetaTensor, labels: MetaTensor, title: Sequence[str] = (), window: tuple[float, float] = WINDOW
) -> Image.Image:
    """Planes of a CT with outlined organs; the patient's left is at the right of the picture.

    Args:
        ct: (1, X, Y, Z) with its affine (RAS mm), in any orientation.
        labels: on the same grid, numbers of `han_organs`.
        title: lines above.
        window: lowest and highest value shown.
    """
    hu, marks = shown_part(ct, labels)
    grey = to_grey(hu, window)

    def cut(name: str, index: int) -> Image.Image:
        return panel(plane(grey, name, index), plane(marks, name, index), name)

    middle = [int(size // 2) for size in hu.shape]
    if marks.any():
        found = np.argwhere(marks)
        middle = [int(n) for n in np.median(found, axis=0)]
    long = [cut("coronal", middle[1]), cut("sagittal", middle[0])]
    present = [int(n) for n in np.unique(marks) if n]
    top = beside([*long, legend(present, long[0].height)] if present else long)
    bottom = beside([cut("axial", level) for level in axial_levels(marks)])
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
