"""Data sets of X-ray pairs with the CT they were rendered from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..hounsfield import hu_to_intensity
from ..shared.io.atomic import atomic_path
from ..shared.networks.clustering.biplanar import BiplanarGeometry
from ..shared.training.seeding import mix_seed
from .augmentation import random_deformation, random_geometry, varied_densities, varied_look, warped, warped_labels
from .patient_ct import PatientCT, cube, cube_labels, pooled, thinned
from .patients import fine_size, patient_weights
from .rendering import render_pair, scale_xrays


def pair_item(hu: Tensor, labels: Tensor, fine_mm: float, factor: int, geometry: BiplanarGeometry) -> dict[str, Any]:
    """What a fine cube of HU and of labels, both (S, S, S), gives to the network.

    Returns:
        ``image`` (2, rows, columns), scaled; ``label`` (1, X, Y, Z) intensities; ``regions`` (X, Y, Z) labels;
        ``projections`` (2, 3, 4); ``distances`` (3,): source to isocentre, source to detector, pixel [mm].
    """
    images = scale_xrays(render_pair(hu, fine_mm, geometry))
    return {
        "image": images,
        "label": hu_to_intensity(pooled(hu, factor))[None],
        "regions": thinned(labels, factor),
        "projections": geometry.projections(),
        "distances": torch.tensor([geometry.source_to_isocenter_mm, geometry.sdd_mm, geometry.pixel_mm]),
    }


class RandomPairs(Dataset):
    """Pairs of deformed patients, each a function of (seed, epoch, index).

    Args:
        patients: patients.
        count: pairs of an epoch.
        volume_size: of the volume, a cube.
        spacing_mm: of the volume.
        geometry: of the views, varied at random.
        seed: of everything that is drawn.
        variants: 0: every pair is new; otherwise as many different pairs are made once and kept in ``cache_dir``. A
            training on a CPU is not held up by rendering then.
        cache_dir: folder of the kept pairs.
        strength: of all variation, 0 to 1.
        real_share: share of the pairs that comes from real patients where there are phantoms too.

    Items: see `pair_item`, and "case".
    """

    def __init__(
        self,
        patients: Sequence[PatientCT],
        count: int,
        volume_size: Sequence[int],
        spacing_mm: float,
        geometry: BiplanarGeometry,
        seed: int = 0,
        variants: int = 0,
        cache_dir: str | os.PathLike | None = None,
        strength: float = 1.0,
        real_share: float = 0.6,
    ) -> None:
        if variants and cache_dir is None:
            raise ValueError("variants are kept in a folder: give cache_dir")
        self.patients, self.count, self.geometry = list(patients), count, geometry
        self.size = fine_size(volume_size, spacing_mm, patients[0].spacing_mm)
        self.factor = self.size // volume_size[0]
        self.seed, self.variants, self.strength = seed, variants, strength
        self.folder = None if cache_dir is None else Path(cache_dir)
        self.weights = patient_weights(patients, real_share)

    def __len__(self) -> int:
        return self.count

    def make(self, seed: int) -> dict[str, Any]:
        """The pair of a seed, before the look of its X-rays is varied."""
        rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        patient = self.patients[int(rng.choice(len(self.patients), p=self.weights))]
        deformation = random_deformation(patient, self.size, self.strength, generator)
        labels = warped_labels(patient, deformation)
        hu = varied_densities(warped(patient, deformation), self.strength, generator)
        geometry = random_geometry(self.geometry, self.strength, generator)
        return {**pair_item(hu, labels, patient.spacing_mm, self.factor, geometry), "case": patient.case}

    def kept(self, number: int) -> dict[str, Any]:
        """Variant ``number`` from the cache, where it is put at its first use."""
        assert self.folder is not None
        path = self.folder / f"pair_{self.seed}_{number:05d}.npz"
        if not path.is_file():
            item = self.make(mix_seed(self.seed, 1, number))
            arrays = {name: item[name].numpy() for name in ("image", "label", "regions", "projections", "distances")}
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(
                    file,
                    image=arrays["image"].astype(np.float16),
                    label=np.round(arrays["label"] * 65535).astype(np.uint16),  # steps of 0.04 HU
                    regions=arrays["regions"],
                    projections=arrays["projections"],
                    distances=arrays["distances"],
                    case=item["case"],
                )
        with np.load(path, allow_pickle=False) as stored:
            return {
                "regions": torch.from_numpy(stored["regions"]),
                "image": torch.from_numpy(stored["image"].astype(np.float32)),
                "label": torch.from_numpy(stored["label"].astype(np.float32) / 65535),
                "projections": torch.from_numpy(stored["projections"]),
                "distances": torch.from_numpy(stored["distances"]),
                "case": str(stored["case"]),
            }

    def __getitem__(self, index: Any) -> dict[str, Any]:
        """The pair of ``(epoch, index)``, or of an index in epoch 0."""
        epoch, index = index if isinstance(index, tuple) else (0, index)
        if self.variants:  # one after the other, each as often as any other
            item = self.kept((max(epoch - 1, 0) * self.count + index) % self.variants)
        else:
            item = self.make(mix_seed(self.seed, 2, epoch, index))
        look = torch.Generator().manual_seed(mix_seed(self.seed, 3, epoch, index))
        return {**item, "image": varied_look(item["image"], self.strength, look)}


class PlainPairs(Dataset):
    """One pair of each patient as it is, in the geometry as it is given: for validation.

    Args:
        patients: patients.
        volume_size: of the volume, a cube.
        spacing_mm: of the volume.
        geometry: of the views.
    """

    def __init__(
        self, patients: Sequence[PatientCT], volume_size: Sequence[int], spacing_mm: float, geometry: BiplanarGeometry
    ) -> None:
        self.items = []
        for patient in patients:
            size = fine_size(volume_size, spacing_mm, patient.spacing_mm)
            values = cube(patient, size), cube_labels(patient, size)
            item = pair_item(*values, patient.spacing_mm, size // volume_size[0], geometry)
            self.items.append({**item, "case": patient.case})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.items[index])
