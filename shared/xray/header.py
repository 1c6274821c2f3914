"""Numbers of a DICOM header, with what cannot be right told from what is missing."""

from __future__ import annotations

import math
import os

from pydicom.dataset import Dataset

from ..io.errors import CaseError, one_line

SDD_MM = (100.0, 5000.0)  # that a user may give: mini C-arms have 0.4 m, chest stands 2 m, pictures of whole legs 3 m
HEADER_SDD_MM = (200.0, 5000.0)  # that a header is believed: a smaller one is in metres or centimetres
SOD_MM = (1.0, 5000.0)
PIXEL_MM = (0.001, 20.0)
MAGNIFICATION = (0.999, 10.0)
ROUNDED = 0.01  # relative difference of two numbers that mean the same


def same(first: float, second: float) -> bool:
    """Whether two numbers of a header mean the same."""
    return abs(first - second) <= ROUNDED * max(abs(first), abs(second))


def same_pair(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """:func:`same` of both numbers."""
    return same(first[0], second[0]) and same(first[1], second[1])


class Header:
    """Geometry in a DICOM header.

    Args:
        data: the header; empty for a file that has none.
        sdd: distance from source to detector in mm that counts instead of the header's.
        sod: distance from source to patient in mm, likewise.

    Attributes:
        problems: what is there but cannot be right and is therefore left out, by attribute: "PixelSpacing is 0\\0,
            which is no pixel size".
        remarks: what is used, although it is doubtful.
    """

    def __init__(self, data: Dataset, sdd: float | None = None, sod: float | None = None) -> None:
        self.data, self.given_sdd, self.given_sod = data, sdd, sod
        self.problems: dict[str, str] = {}
        self.remarks: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """Problems and remarks, one line each."""
        return list(dict.fromkeys([*(f"{problem}: not used" for problem in self.problems.values()), *self.remarks]))

    def text(self, keyword: str) -> str:
        """An attribute as it is stored, several values with a backslash between them; "" where it is missing."""
        value = self.data.get(keyword)
        if value is None:
            return ""
        parts = [str(value)] if isinstance(value, str) or not hasattr(value, "__len__") else [str(v) for v in value]
        return "" if not any(part.strip() for part in parts) else "\\".join(part.strip() for part in parts)

    def numbers(self, keyword: str, count: int, limits: tuple[float, float], kind: str) -> tuple[float, ...] | None:
        """The numbers of an attribute, None where it is missing or cannot be right.

        Args:
            keyword: name of the attribute.
            count: how many numbers it has.
            limits: between which they lie.
            kind: what they are, for the problem.
        """
        text = self.text(keyword)
        if not text:
            return None
        try:
            values = tuple(float(part) for part in text.split("\\"))
        except ValueError:
            values = ()
        if len(values) == count and all(limits[0] <= value <= limits[1] for value in values):
            return values
        self.problems[keyword] = f"{keyword} is {one_line(text)[:40]}, which is no {kind}{guess(values, limits)}"
        return None

    def spacing(self, keyword: str) -> tuple[float, float] | None:
        """A pixel size: mm between columns and between rows (DICOM names the distance of rows first)."""
        values = self.numbers(keyword, 2, PIXEL_MM, "pixel size in mm")
        return None if values is None else (values[1], values[0])

    def sdd(self) -> float | None:
        """Distance from source to detector in mm."""
        values = self.numbers("DistanceSourceToDetector", 1, HEADER_SDD_MM, "distance in mm")
        return self.given_sdd or (None if values is None else values[0])

    def sod(self) -> float | None:
        """Distance from source to patient in mm; of no use where it is no smaller than that to the detector."""
        name = "DistanceSourceToPatient"
        # some devices write 0 where they do not know it
        values = None if self.text(name) in ("0", "0.0") else self.numbers(name, 1, SOD_MM, "distance in mm")
        sod, sdd = self.given_sod or (None if values is None else values[0]), self.sdd()
        if sod is None or sdd is None or sod < sdd:
            return sod
        self.problems[name] = f"{name} is {sod:g} mm with the detector at {sdd:g} mm, which cannot be"
        return None

    def magnification(self) -> tuple[float, str] | None:
        """How many times larger the patient is on the detector, and what says it; None where unknown."""
        name = "EstimatedRadiographicMagnificationFactor"
        factor = self.numbers(name, 1, MAGNIFICATION, "magnification")
        sdd, sod = self.sdd(), self.sod()
        ratio = None if sdd is None or sod is None else sdd / sod
        if ratio is not None and (factor is None or self.given_sdd or self.given_sod):
            return ratio, "distances of source, patient and detector"
        if factor is None:
            return None
        if ratio is not None and not same(factor[0], ratio):
            self.remarks.append(f"{name} is {factor[0]:g}, but the distances give {ratio:.3g}: the first is used")
        return max(factor[0], 1.0), name


def guess(values: tuple[float, ...], limits: tuple[float, float]) -> str:
    """What may have gone wrong with distances that are out of limits: a unit."""
    if limits != HEADER_SDD_MM or len(values) != 1:
        return ""
    for unit, factor in (("metres", 1000.0), ("centimetres", 10.0)):
        if 500 <= values[0] * factor <= limits[1]:
            return f" ({unit}, perhaps: {values[0] * factor:g} mm)"
    return ""


def option_number(name: str, value: object, limits: tuple[float, float], unit: str = "mm") -> float:
    """A value that the user gave, as a number within limits.

    Raises:
        CaseError: when it is none.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not limits[0] <= number <= limits[1]:
        raise CaseError(f"--{name}", f"is {value}", f"give a number from {limits[0]:g} to {limits[1]:g} {unit}")
    return number


def option_spacing(name: str, value: object) -> tuple[float, float]:
    """mm between columns and between rows, of an option that gives the distance of rows and of columns, or one number.

    Raises:
        CaseError: when it is neither.
    """
    pair = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(pair) != 2:
        raise CaseError(f"--{name}", f"is {value}", "give the distance of rows and of columns in mm, or one number")
    rows, columns = (option_number(name, size, PIXEL_MM) for size in pair)
    return columns, rows


def modality_problem(path: str | os.PathLike, data: Dataset) -> CaseError | None:
    """Why a DICOM object is no radiograph, None where it may be one."""
    kind = TOMOGRAPHIC.get(str(data.get("Modality") or ""))
    return None if kind is None else CaseError(path, f"is {kind}", "give a radiograph (CR, DX, RG, RF, XA)")


# A single slice of these is no projection of the body.
TOMOGRAPHIC = {"CT": "a CT slice", "MR": "an MR slice", "PT": "a PET slice", "NM": "a scintigram", "US": "ultrasound"}
