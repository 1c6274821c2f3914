"""Procedural radiographs of hands with 37 exact landmarks: training-like data for demos and tests.

A hand is drawn from the statistical shape model (`shape`), clothed with bones and soft tissue around its
landmarks (`anatomy`), projected (`projection`) and exposed with the habits of scanned films and computed
radiography: display curve, heel effect, noise, streaks, markers, collimation. Command line:
`python -m scripts.phantoms --output_dir demo --count 4` in the bundle.
"""

import csv
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter

from .anatomy import HandWarp, draw_bones, random_constitution, soft_tissue
from .projection import BoneCanvas
from .shape import LANDMARKS, random_shape, rotation


@dataclass
class HandPhantom:
    """A hand radiograph with known landmarks.

    Attributes:
        image: float32 (X, Y), 0 to 1, bones bright.
        landmarks: float64 (37, 2), (x, y) in pixels of `image`, pixel centres at integers.
        mm_per_pixel: pixel size under which the wrist is 50 mm wide.
        side: which hand it is.
        parameters: what was drawn at random, for inspection.
    """

    image: np.ndarray
    landmarks: np.ndarray
    mm_per_pixel: float
    side: Literal["left", "right"]
    parameters: dict[str, Any] = field(default_factory=dict)


def _frame(shape_mm: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int], float]:
    """Place a (37, 2) mm shape in an image: landmarks in pixels, image shape (X, Y), pixels per mm.

    Margins beyond the outermost landmarks follow those of real radiographs: 0.05 to 0.55 wrist distances.
    """
    low, high = shape_mm.min(axis=0), shape_mm.max(axis=0)
    margins = LANDMARKS.size_mm * np.clip(
        rng.normal([0.27, 0.25, 0.24, 0.22], 0.1), 0.05, 0.55
    )  # left, top, right, bottom
    extent = high - low + margins[:2] + margins[2:]
    scale = (size - 1) / extent.max()
    pixels = np.minimum(np.round(extent * scale).astype(int) + 1, size)
    return (shape_mm - low + margins[:2]) * scale, (int(pixels[0]), int(pixels[1])), float(scale)


def _trabecular_texture(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Zero-mean band-pass noise (X, Y) with strands along the hand, standard deviation 0.15."""
    noise = rng.normal(size=shape).astype(np.float32)
    fine = max(0.3 * scale, 0.5)
    strands = gaussian_filter(noise, (fine, 1.8 * fine)) - gaussian_filter(noise, (2.5 * fine, 3.5 * fine))
    return 0.15 * strands / strands.std()


def _expose(soft_mm: np.ndarray, bone_mm: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
    """Thickness maps to a displayed image (X, Y): Beer-Lambert attenuation, film-like curve, window, heel effect."""
    bone_per_soft = rng.uniform(4.6, 5.8)
    contrast = rng.uniform(0.7, 1.5)
    display = 1.0 - np.exp(-contrast * 0.0136 * (soft_mm + bone_per_soft * bone_mm))
    display /= np.percentile(display, 99.8)
    background = rng.uniform(0.0, 0.12) if rng.uniform() < 0.2 else rng.uniform(0.12, 0.48)
    top = rng.uniform(0.82, 0.99)
    gamma = rng.uniform(0.85, 1.3)
    clip = rng.uniform(0.1, 0.25) if rng.uniform() < 0.06 else 0.0  # hard window: fingertips sink into the dark
    image = (background + (top - background) * display**gamma - clip) / (1.0 - clip)
    x = np.linspace(-1, 1, image.shape[0])[:, None]
    y = np.linspace(-1, 1, image.shape[1])[None, :]
    heel = rng.normal(0, 0.03, size=3)
    image = image + heel[0] * x + heel[1] * y + heel[2] * (x * x + y * y)
    return image, {"background": background, "top": top, "gamma": gamma, "contrast": contrast}


def _wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Approximate Gaussian blur of many pixels, (X, Y): three box filters, whose cost is independent of `sigma`."""
    width = max(int(round(2 * sigma)) | 1, 3)
    for _ in range(3):
        image = uniform_filter(image, width, mode="nearest")
    return image


def _detector(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Blur with veiling glare, correlated quantum noise (stronger where dark), vertical streaks on an (X, Y) image."""
    image = gaussian_filter(image, max(rng.uniform(0.1, 0.3) * scale, 0.4))
    glare = rng.uniform(0.05, 0.25)
    image = (1 - glare) * image + glare * _wide_blur(image, 2.5 * scale)
    noise = gaussian_filter(rng.normal(size=image.shape).astype(np.float32), rng.uniform(0.4, 0.9))
    noise *= rng.uniform(0.003, 0.008) / noise.std()
    image = image + noise * (1.3 - np.clip(image, 0, 1))
    streaks = gaussian_filter1d(rng.normal(size=image.shape[0]), 1.5) - gaussian_filter1d(
        rng.normal(size=image.shape[0]), 12
    )
    return image + (rng.uniform(0, 0.006) * streaks / streaks.std())[:, None]


def _add_ring(bone_mm: np.ndarray, landmarks: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Put a metal ring on the proximal phalanx of the ring or middle finger."""
    base, joint = (29, 30) if rng.uniform() < 0.7 else (25, 26)
    centre = landmarks[base] + rng.uniform(0.4, 0.65) * (landmarks[joint] - landmarks[base])
    axis = (landmarks[joint] - landmarks[base]) / np.linalg.norm(landmarks[joint] - landmarks[base])
    dx = (np.arange(bone_mm.shape[0]) - centre[0])[:, None] / scale
    dy = (np.arange(bone_mm.shape[1]) - centre[1])[None, :] / scale
    u, v = dx * axis[0] + dy * axis[1], -dx * axis[1] + dy * axis[0]
    half_width, tilt = rng.uniform(10.5, 12.5), rng.uniform(0.05, 0.15)
    arc = np.sqrt(np.clip(1.0 - (v / half_width) ** 2, 0.0, None)) * half_width * tilt
    band = np.minimum(np.abs(u - arc), np.abs(u + arc)) < rng.uniform(1.0, 2.0)
    bone_mm += 14.0 * (band & (np.abs(v) < half_width))


def _paint(image: np.ndarray, layer: Image.Image, value: float) -> np.ndarray:
    """Blend a Pillow mask (rows, columns) of brightness `value` over an (X, Y) image."""
    mask = np.asarray(layer, dtype=np.float32).T / 255.0
    return image * (1.0 - mask) + value * mask


def _tilted_box(shape: tuple[int, ...], centre: np.ndarray, size: np.ndarray, degrees: float) -> Image.Image:
    """Pillow mask of a rectangle of `size` (x, y) pixels turned about its centre, for an (X, Y) image of `shape`."""
    corners = centre + (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2) @ rotation(degrees).T
    layer = Image.new("L", (shape[0], shape[1]), 0)
    ImageDraw.Draw(layer).polygon([tuple(corner) for corner in corners], fill=255)
    return layer


def _free_box(free: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Centre and size (x, y) of a random box on the free background, often cut by an edge; None where all fail."""
    extent = np.array(free.shape)
    for _ in range(15):
        size = rng.uniform([0.05, 0.05], [0.13, 0.13]) * extent.max()
        centre = rng.uniform(size=2) * extent
        if rng.uniform() < 0.6:
            edge = rng.integers(2)
            centre[edge] = rng.choice([0.3 * size[edge], extent[edge] - 0.3 * size[edge]])
        low = np.clip(centre - 0.6 * size, 0, extent).astype(int)
        high = np.clip(centre + 0.6 * size, 0, extent).astype(int)
        if free[low[0] : high[0], low[1] : high[1]].all():
            return centre, size
    return None


def _marker(image: np.ndarray, free: np.ndarray, text: str, rng: np.random.Generator) -> np.ndarray:
    """Stamp a lead letter, a blacked-out name or a foil plate on the background; `free` is False over the hand."""
    place = _free_box(free, rng)
    if place is None:
        return image
    centre, size = place
    angle = float(rng.normal(0, 6))
    kind = rng.choice(["letter", "black", "plate"], p=[0.3, 0.5, 0.2])
    nearest = tuple(np.clip(centre, 0, np.array(image.shape) - 1).astype(int))
    if kind == "plate" or (kind == "black" and rng.uniform() < 0.5):
        tone = float(image[nearest] + rng.uniform(-0.1, 0.12))
        image = _paint(image, _tilted_box(image.shape, centre, 1.15 * size, angle), tone)
    if kind == "black":
        image = _paint(image, _tilted_box(image.shape, centre, 0.8 * size, angle), float(rng.uniform(0, 0.06)))
        return image
    height = max(int(0.85 * min(size[0], size[1] / (1 + text.count("\n")))), 4)
    stamp = Image.new("L", (3 * height, 3 * height), 0)
    ImageDraw.Draw(stamp).multiline_text(
        (1.5 * height, 1.5 * height),
        text,
        fill=255,
        anchor="mm",
        font=ImageFont.load_default(size=height),
        stroke_width=height // 14,
    )
    layer = Image.new("L", (image.shape[0], image.shape[1]), 0)
    layer.paste(stamp.rotate(angle), (int(centre[0] - 1.5 * height), int(centre[1] - 1.5 * height)))
    return _paint(image, layer, float(rng.uniform(0.85, 1.0)))


def _collimation(image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unexposed (bright) or trimmed (dark) strips along one or two edges, outside of all landmarks."""
    value = float(rng.uniform(0.85, 1.0)) if rng.uniform() < 0.7 else 0.0
    room = [landmarks[:, 0].min(), image.shape[0] - landmarks[:, 0].max(), landmarks[:, 1].min()]
    y = np.arange(image.shape[1])
    x = np.arange(image.shape[0])
    for side in rng.choice(3, size=rng.integers(1, 3), replace=False):
        width = min(rng.uniform(0.005, 0.03) * max(image.shape), 0.35 * room[side])
        tilt = rng.normal(0, 0.004)
        if side < 2:
            offset = (x if side == 0 else x[::-1])[:, None] - width - tilt * (y - y.mean())[None, :]
        else:
            offset = y[None, :] - width - tilt * (x - x.mean())[:, None]
        weight = 1.0 / (1.0 + np.exp(np.clip(offset / 0.7, -30, 30)))
        image = image * (1 - weight) + value * weight
    return image


def make_hand(seed: int, size: int = 768, side: Literal["left", "right", "random"] = "left") -> HandPhantom:
    """Make one hand radiograph.

    Args:
        seed: everything random follows from it.
        size: long edge of the image in pixels, at least 64.
        side: "left" (little finger left of the thumb), "right" (mirrored) or "random".
    """
    rng = np.random.default_rng(seed)
    if side == "random":
        side = "left" if rng.uniform() < 0.5 else "right"
    angle = float(np.clip(rng.normal(0, 7), -20, 20))
    landmarks, shape, scale = _frame(random_shape(rng) @ rotation(angle).T, size, rng)
    body = random_constitution(rng)
    warp = HandWarp(landmarks)

    canvas = BoneCanvas(np.zeros(shape), _trabecular_texture(shape, scale, rng), scale)
    draw_bones(canvas, warp, body, rng)
    soft_mm = soft_tissue(shape, warp, scale, body)
    bone_mm = canvas.bone
    if rng.uniform() < 0.06:
        _add_ring(bone_mm, landmarks, scale, rng)
    image, exposure = _expose(soft_mm, bone_mm, rng)
    free = gaussian_filter(soft_mm, 2.0) < 0.05
    if side == "right":
        image, free = image[::-1], free[::-1]
        landmarks = np.column_stack([shape[0] - 1 - landmarks[:, 0], landmarks[:, 1]])

    letter = ("L" if side == "left" else "R") + str(rng.choice(["", "", "\nJV", "\nPS", "\nVF"]))
    for _ in range(rng.integers(0, 3)):
        image = _marker(image, free, letter, rng)
    if rng.uniform() < 0.35:
        image = _collimation(image, landmarks, rng)
    image = _detector(image, scale, rng)
    parameters = {"seed": seed, "angle_degrees": angle, "pixels_per_mm": scale, **asdict(body), **exposure}
    return HandPhantom(
        image=np.ascontiguousarray(np.clip(image, 0, 1), dtype=np.float32),
        landmarks=landmarks,
        mm_per_pixel=LANDMARKS.mm_per_unit(landmarks),
        side=side,
        parameters=parameters,
    )


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Image of values 0 to 1 to 8 bits, rounded."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def write_hand_dataset(
    output_dir: str | Path,
    count: int,
    seed: int = 0,
    size: int = 768,
    side: Literal["left", "right", "random"] = "left",
    image_format: Literal["png", "jpg"] = "png",
    split_column: bool = True,
) -> Path:
    """Write `count` radiographs and `landmarks.csv` (image, split, x0, y0 … x36, y36); return the table's path.

    Image number i depends on `seed + i` alone. Every fifth image is for validation, the others for training.

    Args:
        output_dir: folder for the 8-bit images `hand_0000.png` … and `landmarks.csv`; made where absent.
        count: number of images.
        seed: seed of the first image.
        size: long edge in pixels.
        side: see `make_hand`.
        image_format: file format of the images.
        split_column: whether the table has the column `split` (train or validation).
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    columns = [f"{axis}{i}" for i in range(len(LANDMARKS)) for axis in "xy"]
    table = folder / "landmarks.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", *(["split"] if split_column else []), *columns])
        for index in range(count):
            phantom = make_hand(seed + index, size, side)
            name = f"hand_{seed + index:04d}"
            Image.fromarray(to_uint8(phantom.image).T).save(folder / f"{name}.{image_format}")
            split = ["validation" if index % 5 == 4 else "train"] if split_column else []
            writer.writerow([name, *split, *(f"{value:.2f}" for value in phantom.landmarks.ravel())])
    return table
