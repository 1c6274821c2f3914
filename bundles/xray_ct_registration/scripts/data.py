"""What the pose regressor is trained on: CTs, and random or fixed poses of them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Randomizable, Transform

from .patient import PatientModel, load_patient
from .pose_space import PoseSpace
from .shared.io.cases import find_cases
from .shared.training.seeding import mix_seed


def ct_paths(dataset_dir: str | os.PathLike) -> list[str]:
    """CTs of a folder; label maps (``…_seg``, ``…_mask``) are left out.

    Raises:
        CaseError: where there is none.
    """
    paths = [case["image"] for case in find_cases(dataset_dir, "volume")]
    kept = [p for p in paths if not os.path.basename(p).split(".")[0].endswith(("_seg", "_mask"))]
    return kept or paths


def load_patients(
    dataset_dir: str | os.PathLike, spacing_mm: float, device: torch.device, energy_kev: float = 70.0
) -> list[PatientModel]:
    """Patients of all CTs in a folder, with voxels of about ``spacing_mm``, on a device."""
    return [load_patient(path, None, energy_kev).coarser(spacing_mm).to(device) for path in ct_paths(dataset_dir)]


def training_samples(patients: Sequence[PatientModel], samples_per_epoch: int) -> list[dict[str, Any]]:
    """Samples of an epoch: the patients in turn; none where there is no patient."""
    if not patients:
        return []
    return [{"patient": index % len(patients), "case": f"sample_{index:05d}"} for index in range(samples_per_epoch)]


def validation_samples(
    patients: Sequence[PatientModel], space: PoseSpace, count: int, seed: int = 7
) -> list[dict[str, Any]]:
    """``count`` fixed poses and appearances, of the patients in turn."""
    poses = space.random(count, torch.Generator().manual_seed(seed))
    return [
        {
            "patient": index % len(patients),
            "case": f"pose_{index:03d}",
            "parameters": poses[index],
            "seed": mix_seed(seed, index),
        }
        for index in range(count)
    ]


class RandPose(Randomizable, Transform):
    """Adds a random pose (``parameters``, (6,) float64) and a seed of the appearance to a sample.

    Args:
        space: from which poses are drawn.
    """

    def __init__(self, space: PoseSpace) -> None:
        self.space = space

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        seed = int(self.R.randint(0, 2**31 - 1))
        parameters = self.space.random(1, torch.Generator().manual_seed(seed))[0]
        return {**data, "parameters": parameters, "seed": seed}
