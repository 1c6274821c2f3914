"""CTs of random appearance from label maps: real shapes, drawn intensities (SynthSeg, Billot et al. 2023).

Bone follows the depth below its surface, as measured on a real CT: a thin cortex, a layer behind it, a spongy core.
Every other structure gets one random intensity of its kind, and what has no label is filled with fat, muscle and air
in smooth patches. The noise and the blur of a scanner come on top.

Command line, from a bundle: `python -m scripts.shared.spine.synthesis --mask seg.nii.gz --output_dir DIR --count 4`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..engines.terminal import run_command
from ..geometry.grids import to_grid, volume_affine
from ..io.itk_images import to_sitk, write_image
from .dataset import COLUMNS, load_volume

Array = np.ndarray

KINDS: dict[str, tuple[float, float]] = {  # HU range of the mean of a structure
    "lung": (-920.0, -700.0),
    "gas": (-1000.0, -900.0),
    "fat": (-125.0, -70.0),
    "organ": (20.0, 140.0),
    "vessel": (30.0, 340.0),
    "muscle": (35.0, 75.0),
    "disc": (50.0, 110.0),
}
AIR = -1000.0


def patches(shape: tuple[int, ...], size_voxels: float, rng: np.random.Generator) -> Array:
    """Smooth noise of mean 0 and standard deviation 1; patches of about ``size_voxels``."""
    coarse = np.maximum(np.ceil(np.array(shape) / size_voxels).astype(int) + 3, 4)
    noise = rng.standard_normal(coarse)
    step = (coarse - 3) / np.array(shape)
    field = ndimage.affine_transform(noise, step, offset=1.0, output_shape=shape, order=2, mode="nearest")
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def soft_tissue(bones: Array, body: Array | None, spacing_mm: float, rng: np.random.Generator) -> Array:
    """HU of everything without a label: muscle near the bones, patches of fat, organ and gas farther away, air outside.

    Args:
        bones: where bone is.
        body: where the patient is; a random surrounding of the bones where None.
        spacing_mm: of the voxels.
        rng: source of randomness.
    """
    near = ndimage.distance_transform_edt(~bones) * spacing_mm
    kind = patches(bones.shape, rng.uniform(12, 40) / spacing_mm, rng)
    hu = np.where(kind > rng.uniform(-0.3, 1.0), rng.uniform(*KINDS["fat"]), rng.uniform(*KINDS["muscle"]))
    hu = np.where(patches(bones.shape, rng.uniform(20, 50) / spacing_mm, rng) > 1.0, rng.uniform(*KINDS["organ"]), hu)
    hollow = patches(bones.shape, rng.uniform(25, 70) / spacing_mm, rng) > rng.uniform(0.8, 2.2)
    hu = np.where(hollow & (near > rng.uniform(12, 30)), rng.uniform(*KINDS["lung"]), hu)
    hu = np.where(near < rng.uniform(1, 5), rng.uniform(*KINDS["disc"]), hu)
    if body is None:
        reach = rng.uniform(35, 90) + 12 * patches(bones.shape, 40 / spacing_mm, rng)
        body = near < reach
    return np.where(body, hu, AIR)


def bone_hu(bones: Array, spacing_mm: float, rng: np.random.Generator) -> Array:
    """HU of bone by the depth (mm) below its surface, with the texture of the spongy part."""
    depth = ndimage.distance_transform_edt(bones) * spacing_mm
    cortex, marrow = rng.uniform(180, 620), rng.uniform(40, 230)
    hu = marrow + cortex * np.exp(-np.maximum(depth - spacing_mm, 0) / rng.uniform(0.8, 2.2))
    hu += rng.uniform(5, 45) * patches(bones.shape, 3.0, rng) + rng.uniform(0, 30) * patches(bones.shape, 9.0, rng)
    return hu


def synthesize_ct(
    bones: Array,
    spacing_mm: float,
    rng: np.random.Generator,
    structures: Array | None = None,
    kinds: Mapping[int, str] | None = None,
    body: Array | None = None,
) -> Array:
    """A CT in which every structure of a label map has a random appearance.

    Args:
        bones: bool (X, Y, Z).
        spacing_mm: of the isotropic voxels.
        rng: source of randomness.
        structures: numbers of other structures (X, Y, Z), or None.
        kinds: number to one of ``KINDS``; "organ" where it is not named.
        body: where the patient is, or None.

    Returns:
        int16 HU.
    """
    hu = soft_tissue(bones, body, spacing_mm, rng)
    for number in np.unique(structures) if structures is not None else ():
        if number == 0 or rng.uniform() < 0.1:  # now and then a structure is left to the background
            continue
        kind = (kinds or {}).get(int(number), "organ")
        mean = rng.uniform(*KINDS[kind])
        hu[structures == number] = mean
    hu += rng.uniform(2, 15) * patches(bones.shape, 4.0, rng) * (hu > AIR)
    hu = np.where(bones, bone_hu(bones, spacing_mm, rng), hu)
    hu = ndimage.gaussian_filter(hu, rng.uniform(0.3, 0.9) / spacing_mm)
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape), rng.uniform(0.3, 0.8))
    hu += noise / noise.std() * rng.uniform(3, 35)
    return np.clip(np.round(hu), -1024, 3071).astype(np.int16)


def write_synthetic(
    mask: str | os.PathLike,
    output_dir: str | os.PathLike,
    count: int = 4,
    seed: int = 0,
    spacing_mm: float = 1.5,
    centroids: str | os.PathLike = "",
    name: str = "synthetic",
) -> str:
    """Write synthetic CTs of a label map of vertebrae and a table of them; the label map itself is used as it is.

    Args:
        mask: label map of the spine.
        output_dir: for the CTs and ``cases.csv``.
        count: how many.
        seed: of the first.
        spacing_mm: of the CTs.
        centroids: JSON with the body centres, or nothing: they will be derived.
        name: of the cases.

    Returns:
        path of the table.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    grid = to_grid(load_volume(Path(mask)), spacing_mm, labels=True)
    bones = grid.as_tensor()[0].numpy() > 0
    rows = []
    for number in range(seed, seed + count):
        image = synthesize_ct(bones, spacing_mm, np.random.default_rng(number))
        path = folder / f"{name}_{number:04d}_ct.nii.gz"
        write_image(to_sitk(image, volume_affine(grid)), path)
        files = [path, Path(mask), Path(centroids) if centroids else None]
        paths = ["" if file is None else os.path.relpath(file, folder) for file in files]
        rows.append([f"{name}_{number:04d}", "", *paths])
    table = folder / "cases.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return str(table)


if __name__ == "__main__":
    run_command(write_synthetic)
