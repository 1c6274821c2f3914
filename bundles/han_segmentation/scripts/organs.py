"""The 30 organs at risk of HaN-Seg: numbers, names, sides, and what other data sets call them.

Numbers and names are those of the HaN-Seg challenge (Podobnik et al., Medical Physics 50, 2023); its names follow the
rules of AAPM TG-263 (Mayo et al., 2018), so that they serve in an RT structure set as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Organ:
    """One organ.

    Attributes:
        number: its label in a label map, 1 to 30.
        name: in HaN-Seg, and in an RT structure set.
        description: for people.
        small: whether it is resegmented in a finer box, being only a few voxels wide.
    """

    number: int
    name: str
    description: str
    small: bool = False

    @property
    def side(self) -> str | None:
        """ "L" or "R" of the patient, None for an organ of the midline."""
        return self.name[-1] if self.name.endswith(("_L", "_R", "_AL", "_AR", "_PL", "_PR")) else None


_DESCRIPTIONS = {
    "A_Carotid_L": "left carotid artery",
    "A_Carotid_R": "right carotid artery",
    "Arytenoid": "arytenoids",
    "Bone_Mandible": "mandible",
    "Brainstem": "brainstem",
    "BuccalMucosa": "buccal mucosa, both sides",
    "Cavity_Oral": "oral cavity",
    "Cochlea_L": "left cochlea",
    "Cochlea_R": "right cochlea",
    "Cricopharyngeus": "cricopharyngeal inlet",
    "Esophagus_S": "cervical oesophagus",
    "Eye_AL": "anterior segment of the left eyeball",
    "Eye_AR": "anterior segment of the right eyeball",
    "Eye_PL": "posterior segment of the left eyeball",
    "Eye_PR": "posterior segment of the right eyeball",
    "Glnd_Lacrimal_L": "left lacrimal gland",
    "Glnd_Lacrimal_R": "right lacrimal gland",
    "Glnd_Submand_L": "left submandibular gland",
    "Glnd_Submand_R": "right submandibular gland",
    "Glnd_Thyroid": "thyroid",
    "Glottis": "glottic larynx",
    "Larynx_SG": "supraglottic larynx",
    "Lips": "lips",
    "OpticChiasm": "optic chiasm",
    "OpticNrv_L": "left optic nerve",
    "OpticNrv_R": "right optic nerve",
    "Parotid_L": "left parotid gland",
    "Parotid_R": "right parotid gland",
    "Pituitary": "pituitary gland",
    "SpinalCord": "spinal cord",
}
_SMALL = {"OpticChiasm", "OpticNrv_L", "OpticNrv_R", "Cochlea_L", "Cochlea_R", "Pituitary"}
_SMALL |= {"Glnd_Lacrimal_L", "Glnd_Lacrimal_R"}

ORGANS: tuple[Organ, ...] = tuple(
    Organ(number, name, text, name in _SMALL) for number, (name, text) in enumerate(_DESCRIPTIONS.items(), start=1)
)
NAMES: dict[int, str] = {organ.number: organ.name for organ in ORGANS}
NUMBERS: dict[str, int] = {organ.name: organ.number for organ in ORGANS}
SMALL_ORGANS: tuple[int, ...] = tuple(organ.number for organ in ORGANS if organ.small)
# (left, right)
PAIRS: tuple[tuple[int, int], ...] = tuple(
    (organ.number, NUMBERS[organ.name[:-1] + "R"]) for organ in ORGANS if organ.side == "L"
)

# OpenKBP challenge (Babier et al., 2021). Its "Esophagus" is the whole organ and its "Larynx" the glottis and more, so
# that neither says anything about Esophagus_S, Glottis or Larynx_SG.
OPENKBP_LABELS: dict[int, str] = {
    1: "Brainstem",
    2: "SpinalCord",
    3: "Parotid_R",
    4: "Parotid_L",
    5: "Esophagus",
    6: "Larynx",
    7: "Mandible",
}
OPENKBP_TO_HAN: dict[int, int] = {
    1: NUMBERS["Brainstem"],
    2: NUMBERS["SpinalCord"],
    3: NUMBERS["Parotid_R"],
    4: NUMBERS["Parotid_L"],
    7: NUMBERS["Bone_Mandible"],
}


def mirrored_numbers() -> np.ndarray:
    """(31,) uint8: the label of each label, background included, after left and right are exchanged."""
    swapped = np.arange(len(ORGANS) + 1, dtype=np.uint8)
    for left, right in PAIRS:
        swapped[left], swapped[right] = right, left
    return swapped


def relabel(labels: np.ndarray, table: dict[int, int]) -> np.ndarray:
    """Label map with other numbers: uint8, of any shape; labels that are not in the table become background."""
    lookup = np.zeros(int(max(labels.max(initial=0), *table)) + 1, dtype=np.uint8)
    for old, new in table.items():
        lookup[old] = new
    return lookup[labels]


def organ_numbers(names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of organs, ascending.

    Raises:
        KeyError: for a name that is none of HaN-Seg's.
    """
    return tuple(sorted(NUMBERS[name] for name in names))
