"""Whether what was found can be organs of head and neck at all: volumes against those of patients."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .organs import OrganTable
from .shared.engines.settings import flag
from .shared.geometry.grids import volume_affine
from .shared.io.errors import CaseError


def organ_volumes(labels: np.ndarray, affine: np.ndarray, table: OrganTable) -> dict[int, float]:
    """Millilitres of every organ, by number, in a label map (X, Y, Z) with its affine (4, 4) in mm."""
    counts = np.bincount(labels.ravel(), minlength=len(table) + 1)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return {number: int(counts[number]) * voxel_ml for number in table.names}


def volume_warnings(volumes: Mapping[int, float], table: OrganTable) -> list[str]:
    """A sentence per organ that was found with a volume that no patient had."""
    found = []
    for number, volume in volumes.items():
        organ = table.organ(number)
        if volume > 0 and organ.volume_ml is not None and not organ.volume_ml[0] <= volume <= organ.volume_ml[1]:
            low, high = organ.volume_ml
            found.append(f"{organ.name} has {volume:.2g} ml, patients have {low:g} to {high:g}")
    return found


def missing_region(volumes: Mapping[int, float], table: OrganTable) -> list[str]:
    """Names of the organs without which a CT is of another part of the body, and that are not there in their size."""
    names = []
    for number in table.needed:
        organ = table.organ(number)
        low, high = organ.volume_ml or (0.0, np.inf)
        if not (volumes[number] > 0 and low <= volumes[number] <= high):
            names.append(f"{organ.name} ({volumes[number]:.1f} ml)")
    return names


class RefuseOtherRegiond(MapTransform):
    """Refuse a CT in which the organs that every head and neck has were not found in a plausible size.

    A network draws its organs into anything: the eyes of a chest CT lie in the wall of its abdomen.

    Args:
        keys: label map (1, X, Y, Z) with all organs that were found.
        table: which organs are needed, and their volumes in patients.
        check: whether to refuse anything.
        ct_key: the CT, whose file the message names.

    Raises:
        CaseError: for a CT of another region.
    """

    def __init__(self, keys: KeysCollection, table: OrganTable, check: bool = True, ct_key: str = "original") -> None:
        super().__init__(keys)
        self.table, self.check, self.ct_key = table, flag("check_region", check), ct_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            labels: MetaTensor = data[key]
            volumes = organ_volumes(labels.as_tensor()[0].cpu().numpy(), volume_affine(labels), self.table)
            missing = missing_region(volumes, self.table) if self.check else []
            if missing:
                path = str(data[self.ct_key].meta.get("filename_or_obj", "CT"))
                problem = f"shows no {' and no '.join(missing)} of plausible size, so no whole head and neck"
                raise CaseError(
                    path, problem, "give the CT of a head and neck, or --check_region False to see what is found"
                )
        return data
