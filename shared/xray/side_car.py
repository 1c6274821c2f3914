"""The geometry of a radiograph in a file beside it.

The side car of an image is ``<name of the image without its suffix>_geometry.json``, and nothing else: that of
``p01.a.png`` is ``p01.a_geometry.json``, that of ``p01.nii.gz`` is ``p01_geometry.json``. It holds

- ``mm_per_pixel``: mm between columns and between rows on the detector (needed);
- ``sdd``: mm from the source to the detector, ``sod``: mm from the source to the patient;
- ``rows`` and ``columns``: size of the picture, which is compared;
- ``principal_point_offset_mm``: from the middle of the detector to where the central ray meets it, along u and v.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..io.errors import CaseError, one_line
from ..io.file_names import image_stem
from .header import PIXEL_MM, SDD_MM, SOD_MM

SIDE_CAR = "_geometry.json"
ADVICE = "give mm_per_pixel, sdd, rows and columns as scripts.simulate writes them"


@dataclass(frozen=True)
class SideCar:
    """Content of a side car; what it does not say is None.

    Attributes:
        path: of the side car.
        detector_mm: between columns and between rows.
        sdd: source to detector in mm.
        sod: source to patient in mm.
        offset_mm: of the principal point from the middle, along columns and rows.
    """

    path: Path
    detector_mm: tuple[float, float]
    sdd: float | None
    sod: float | None
    offset_mm: tuple[float, float]

    @property
    def magnification(self) -> tuple[float, str] | None:
        """How many times larger the patient is on the detector, and what says it; None where unknown."""
        return None if self.sdd is None or self.sod is None else (self.sdd / self.sod, "side car")


def side_car_path(image: str | os.PathLike) -> Path:
    """Where the side car of an image has to lie."""
    return Path(image).with_name(image_stem(Path(image)) + SIDE_CAR)


def values_of(path: Path, content: Mapping[str, Any], name: str, count: int, low: float, high: float) -> list[float]:
    """Numbers of an entry.

    Raises:
        CaseError: naming the entry where it is something else.
    """
    value = content[name]
    values = value if isinstance(value, list) else [value]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)]
    if len(numbers) != len(values) or len(values) != count or not all(low <= number <= high for number in numbers):
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise CaseError(path, f"has {one_line(str(value))[:40]} as {name}", f"give {wanted} from {low:g} to {high:g}")
    return [float(number) for number in numbers]


def read_side_car(image: str | os.PathLike, shape: tuple[int, int]) -> SideCar | None:
    """The side car of an image, None where there is none.

    Args:
        image: path of the image.
        shape: (rows, columns) of the image.

    Raises:
        CaseError: where it cannot be read, holds something else, or belongs to a picture of another size.
    """
    path = side_car_path(image)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseError(path, "is no JSON file", ADVICE) from error
    if not isinstance(content, dict) or "mm_per_pixel" not in content:
        raise CaseError(path, "has no mm_per_pixel", ADVICE)
    for name, size in zip(("rows", "columns"), shape, strict=True):
        if name in content and content[name] != size:
            told = " x ".join(str(content.get(one, "?")) for one in ("rows", "columns"))
            problem = f"is for a picture of {told} pixels, {Path(image).name} has {shape[0]} x {shape[1]}"
            raise CaseError(path, problem, "give each picture the side car of its own size")
    columns, rows = values_of(path, content, "mm_per_pixel", 2, *PIXEL_MM)
    sdd = values_of(path, content, "sdd", 1, *SDD_MM)[0] if content.get("sdd") is not None else None
    sod = values_of(path, content, "sod", 1, *SOD_MM)[0] if content.get("sod") is not None else None
    if sdd is not None and sod is not None and sod >= sdd:
        problem = f"has a sod of {sod:g} mm with an sdd of {sdd:g} mm"
        raise CaseError(path, problem, "the patient lies between source and detector: give a smaller sod")
    u, v = (0.0, 0.0)
    if "principal_point_offset_mm" in content:
        u, v = values_of(path, content, "principal_point_offset_mm", 2, -5000.0, 5000.0)
    return SideCar(path, (columns, rows), sdd, sod, (u, v))
