"""The organs that a network draws, as data: one JSON file names them, and nothing in the code knows which they are.

``configs/organs.json`` describes the thirty of HaN-Seg (numbers and names of the challenge, Podobnik et al., Medical
Physics 50, 2023; the names follow AAPM TG-263, Mayo et al., 2018). Another file makes another network of this bundle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .shared.io.errors import CaseError
from .shared.pictures.volume_preview import label_colour

PATIENTS, PHANTOMS = "patients", "phantoms"
CHOICES = (PATIENTS, "all")
OTHER_CONTOURS = ("refuse", "ignore")


@dataclass(frozen=True)
class Organ:
    """One organ.

    Attributes:
        number: its label in a label map, and the channel of the network; 1, 2, 3 … without gaps.
        name: in files of contours and in results.
        description: for people.
        learned_from: "patients" or "phantoms", what the shipped weights were taught by.
        small: whether the fine look decides about it, being only a few voxels wide.
        volume_ml: smallest and largest plausible volume; None where nobody has measured it.
        centre_mm: typical place (3,) in RAS mm about the common centre of all organs; None where it is not known.
        colour: red, green, blue, 0 to 255.
        tg263: name in an RT structure set.
    """

    number: int
    name: str
    description: str
    learned_from: str
    small: bool
    volume_ml: tuple[float, float] | None
    centre_mm: tuple[float, float, float] | None
    colour: tuple[int, int, int]
    tg263: str


@dataclass(frozen=True)
class OrganTable:
    """All organs of a network and what is known about them together.

    Attributes:
        organs: in the order of their numbers.
        windows_hu: lowest and highest HU of each channel that shows the CT; the first one is that of the pictures.
        pairs: numbers (left, right) of the organs that come in twos.
        axial_planes: numbers of the organs that each axial plane of a picture is chosen for, from the head down.
        label_files: label maps with numbers of their own: name of the file without suffix → number → number of the
            organ, None for a structure that is none of these.
        other_contours: what to do about contours of an organ that is not in the table: "refuse" or "ignore".
        needed: numbers of the organs without which a CT is not of the region that the network was trained on.
    """

    organs: tuple[Organ, ...]
    windows_hu: tuple[tuple[float, float], ...]
    pairs: tuple[tuple[int, int], ...]
    axial_planes: tuple[tuple[int, ...], ...]
    label_files: Mapping[str, Mapping[int, int | None]]
    other_contours: str
    needed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.organs)

    @cached_property
    def names(self) -> dict[int, str]:
        """Number to name."""
        return {organ.number: organ.name for organ in self.organs}

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Name to number."""
        return {organ.name: organ.number for organ in self.organs}

    @cached_property
    def colours(self) -> dict[int, tuple[int, int, int]]:
        """Number to colour."""
        return {organ.number: organ.colour for organ in self.organs}

    @cached_property
    def small(self) -> tuple[int, ...]:
        """Numbers of the organs that the fine look decides about."""
        return tuple(organ.number for organ in self.organs if organ.small)

    @cached_property
    def from_patients(self) -> tuple[str, ...]:
        """Names of the organs that were learned from patients."""
        return tuple(organ.name for organ in self.organs if organ.learned_from == PATIENTS)

    def organ(self, number: int) -> Organ:
        """The organ of a number."""
        return self.organs[number - 1]

    def numbers_of(self, names: Iterable[str], option: str) -> tuple[int, ...]:
        """Numbers of named organs, ascending.

        Raises:
            CaseError: for a name that is not in the table; it calls the option or file by its name.
        """
        given = [names] if isinstance(names, str) else list(names)
        if unknown := [name for name in given if name not in self.numbers]:
            raise CaseError(option, f"names no organ ({unknown[0]})", f"known are {', '.join(self.numbers)}")
        return tuple(sorted(self.numbers[name] for name in given))

    def shown(self, choice: str) -> tuple[int, ...]:
        """Numbers of the organs that results hold.

        Args:
            choice: "patients" for those that were learned from patients, "all" for every one.

        Raises:
            CaseError: for another word.
        """
        if choice not in CHOICES:
            raise CaseError("--organs", f"is {choice!r}", f"give one of {' and '.join(CHOICES)}")
        return tuple(o.number for o in self.organs if choice == "all" or o.learned_from == PATIENTS)

    def mirrored_numbers(self) -> np.ndarray:
        """(K,) uint8: the label of each label, background included, after left and right are exchanged."""
        swapped = np.arange(len(self) + 1, dtype=np.uint8)
        for left, right in self.pairs:
            swapped[left], swapped[right] = right, left
        return swapped

    def midline(self) -> tuple[int, ...]:
        """Numbers of the organs that are no part of a pair."""
        paired = {number for pair in self.pairs for number in pair}
        return tuple(organ.number for organ in self.organs if organ.number not in paired)


def checked_organ(entry: Mapping[str, Any], number: int) -> Organ:
    """One entry of the file.

    Raises:
        ValueError: for a number out of turn, or a source of knowledge that does not exist.
        KeyError: for an entry without a name.
    """
    if entry.get("number", number) != number:
        raise ValueError(f"the organ {entry['name']} has the number {entry['number']}, in its place is {number}")
    source = entry.get("learned_from", PATIENTS)
    if source not in (PATIENTS, PHANTOMS):
        raise ValueError(f"{entry['name']} is learned from {source!r}, neither {PATIENTS} nor {PHANTOMS}")
    volume, centre = entry.get("volume_ml"), entry.get("centre_mm")
    red, green, blue = entry.get("colour", label_colour(number))
    return Organ(
        number,
        entry["name"],
        entry.get("description", entry["name"]),
        source,
        bool(entry.get("small", False)),
        None if volume is None else (float(volume[0]), float(volume[1])),
        None if centre is None else (float(centre[0]), float(centre[1]), float(centre[2])),
        (int(red), int(green), int(blue)),
        entry.get("tg263", entry["name"]),
    )


def table_of(document: Mapping[str, Any]) -> OrganTable:
    """The table that a document describes; only "organs" with a "name" each has to be there.

    Raises:
        ValueError, KeyError, TypeError: for a document of another form, or names that are not among the organs.
    """
    organs = tuple(checked_organ(entry, number) for number, entry in enumerate(document["organs"], start=1))
    numbers = {organ.name: organ.number for organ in organs}
    if not organs or len(numbers) < len(organs):
        raise ValueError("organs need names, each its own")
    other = document.get("other_contours", OTHER_CONTOURS[0])
    if other not in OTHER_CONTOURS:
        raise ValueError(f"other_contours is {other!r}, neither {' nor '.join(OTHER_CONTOURS)}")
    files = {
        stem: {int(number): None if name is None else numbers[name] for number, name in labels.items()}
        for stem, labels in document.get("label_files", {}).items()
    }
    return OrganTable(
        organs,
        tuple((float(low), float(high)) for low, high in document["windows_hu"]),
        tuple((numbers[left], numbers[right]) for left, right in document.get("pairs", [])),
        tuple(tuple(numbers[name] for name in plane) for plane in document.get("axial_planes", [])),
        files,
        other,
        tuple(numbers[name] for name in document.get("needed", [])),
    )


def read_organs(path: str | os.PathLike) -> OrganTable:
    """The table of a file.

    Raises:
        CaseError: for a file that is missing, is no JSON, or describes no organs.
    """
    advice = "write it like configs/organs.json of this bundle"
    try:
        return table_of(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise CaseError(path, "cannot be read", "give --organs_file the JSON file that names the organs") from error
    except KeyError as error:
        raise CaseError(path, f"lacks or does not know {error}", advice) from error
    except (ValueError, TypeError) as error:
        raise CaseError(path, f"describes no organs ({error})", advice) from error


def relabel(labels: np.ndarray, table: Mapping[int, int | None]) -> np.ndarray:
    """Label map with other numbers: uint8, of any shape; labels without a number become background."""
    lookup = np.zeros(int(max(labels.max(initial=0), *table)) + 1, dtype=np.uint8)
    for old, new in table.items():
        lookup[old] = new or 0
    return lookup[labels]


def drawn_numbers(table: OrganTable, names: Sequence[str], option: str) -> tuple[int, ...]:
    """Numbers of the organs that a network has channels for: the named ones, all where none is named."""
    return table.numbers_of(names, option) if names else tuple(table.names)
