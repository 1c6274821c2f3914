"""X-rays for tests: rendered from one small phantom, written in several forms."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bundles.xray_to_ct_clustering.scripts.appearance import VIEWS, Appearance
from bundles.xray_to_ct_clustering.scripts.data.augmentation import random_deformation, warped
from bundles.xray_to_ct_clustering.scripts.data.patient_ct import cube
from bundles.xray_to_ct_clustering.scripts.data.patients import phantom_patient
from bundles.xray_to_ct_clustering.scripts.data.rendering import render_pair, scale_xrays
from shared.networks.clustering.biplanar import BiplanarGeometry

GEOMETRY = BiplanarGeometry(rows=64, columns=64, pixel_mm=6.4)
FINE_MM = 10.0
SIZE = 32


@functools.cache
def patient(seed: int):
    """A phantom of 10 mm."""
    return phantom_patient(seed, FINE_MM)


@functools.cache
def pair(seed: int = 9000) -> torch.Tensor:
    """Attenuation integrals (2, 64, 64) of a phantom, frontal and lateral."""
    return render_pair(cube(patient(seed), SIZE), FINE_MM, GEOMETRY)


@functools.cache
def appearance() -> Appearance:
    """Statistics of 24 deformed phantoms; the limits are wide."""
    images = []
    for number in range(24):
        generator = torch.Generator().manual_seed(number)
        one = patient(number % 3)
        images.append(render_pair(warped(one, random_deformation(one, SIZE, 1.0, generator)), FINE_MM, GEOMETRY))
    return Appearance.fit(scale_xrays(torch.stack(images)), (0.4, 0.4))


def as_bytes(image: torch.Tensor) -> np.ndarray:
    """(rows, columns) uint8 between the least and the greatest value."""
    low, high = image.min(), image.max()
    return ((image - low) / (high - low) * 255).round().numpy().astype(np.uint8)


def write_pngs(folder: Path, images: torch.Tensor | None = None, case: str = "case") -> tuple[Path, Path]:
    """``<case>_frontal.png`` and ``<case>_lateral.png`` of a pair, without geometry."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for view, image in zip(VIEWS, pair() if images is None else images, strict=True):
        paths.append(folder / f"{case}_{view}.png")
        Image.fromarray(as_bytes(image)).save(paths[-1])
    return paths[0], paths[1]
