"""Add the source-to-detector distance and related geometry to a DICOM radiograph.

From the bundle folder: `python -m scripts.add_geometry --input xray.dcm --output xray_sdd.dcm --sdd 1020`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from .shared.engines.terminal import run_command
from .shared.io.atomic import atomic_path
from .shared.io.dicom import read_header
from .shared.io.errors import CaseError
from .shared.io.readers import TOMOGRAPHIC

# AcceptanceLimits of plausible values: C-arms have 0.9 m, chest stands 2 m, pictures of whole legs 3 m.
SDD_MM = (100.0, 5000.0)
PIXEL_MM = (0.005, 10.0)


def check_number(name: str, value: object, low: float, high: float) -> float:
    """A value as a number within limits.

    Raises:
        CaseError: when it is none.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not low <= number <= high:
        raise CaseError(f"--{name}", f"is {value}", f"give a number from {low:g} to {high:g}")
    return number


def decimal_string(value: float) -> str:
    """A number in the form of a DICOM decimal string, at most 16 characters."""
    return f"{value:.10g}"[:16]


def set_geometry(
    data: Dataset,
    sdd: float | None = None,
    sod: float | None = None,
    pixel_spacing: float | Sequence[float] | None = None,
    primary_angle: float | None = None,
    secondary_angle: float | None = None,
) -> None:
    """Set the attributes of the geometry in a header; what is None stays as it is.

    Args:
        data: header, changed in place.
        sdd: distance from source to detector in mm (0018,1110).
        sod: distance from source to patient in mm (0018,1111). With the SDD it gives the magnification (0018,1114).
        pixel_spacing: distance of rows and of columns on the detector in mm, or one number for both (0018,1164).
        primary_angle: of a C-arm, degrees, positive towards the patient's left (LAO) (0018,1510).
        secondary_angle: of a C-arm, degrees, positive towards the head (0018,1511).

    Raises:
        CaseError: when a value is out of its limits or they contradict each other.
    """
    if all(value is None for value in (sdd, sod, pixel_spacing, primary_angle, secondary_angle)):
        advice = "give --sdd, --sod, --pixel_spacing, --primary_angle or --secondary_angle"
        raise CaseError("add_geometry", "has nothing to add", advice)
    if sdd is not None:
        data.DistanceSourceToDetector = decimal_string(check_number("sdd", sdd, *SDD_MM))
    if sod is not None:
        data.DistanceSourceToPatient = decimal_string(check_number("sod", sod, 1.0, SDD_MM[1]))
    if pixel_spacing is not None:
        pair = list(pixel_spacing) if isinstance(pixel_spacing, (list, tuple)) else [pixel_spacing] * 2
        if len(pair) != 2:
            raise CaseError("--pixel_spacing", f"has {len(pair)} numbers", "give the distance of rows and of columns")
        data.ImagerPixelSpacing = [decimal_string(check_number("pixel_spacing", value, *PIXEL_MM)) for value in pair]
    if primary_angle is not None:
        data.PositionerPrimaryAngle = decimal_string(check_number("primary_angle", primary_angle, -180, 180))
    if secondary_angle is not None:
        data.PositionerSecondaryAngle = decimal_string(check_number("secondary_angle", secondary_angle, -90, 90))
    distances = [data.get(name) for name in ("DistanceSourceToDetector", "DistanceSourceToPatient")]
    if (sdd is not None or sod is not None) and all(distances):
        to_detector, to_patient = map(float, distances)
        if to_patient >= to_detector:
            problem = f"is {to_patient:g} mm with the detector at {to_detector:g} mm"
            raise CaseError("--sod", problem, "the patient lies between source and detector: give a smaller one")
        data.EstimatedRadiographicMagnificationFactor = decimal_string(to_detector / to_patient)


def add_geometry(
    input: str,  # the name of the option
    output: str | None = None,
    sdd: float | None = None,
    sod: float | None = None,
    pixel_spacing: float | Sequence[float] | None = None,
    primary_angle: float | None = None,
    secondary_angle: float | None = None,
    in_place: bool = False,
    overwrite: bool = False,
) -> str:
    """Write a DICOM radiograph with its geometry; all other attributes and the pixels stay as they are, byte for byte.

    Args:
        input: DICOM radiograph.
        output: new file.
        sdd: distance from source to detector in mm.
        sod: distance from source to patient in mm.
        pixel_spacing: distance of rows and of columns on the detector in mm, or one number for both.
        primary_angle: of a C-arm, degrees, positive towards the patient's left (LAO).
        secondary_angle: of a C-arm, degrees, positive towards the head.
        in_place: change the input itself, instead of an output.
        overwrite: replace an output that exists.

    Returns:
        path of the file that was written.

    Raises:
        CaseError: when the input is no radiograph, a value out of its limits, or a file would be overwritten unasked.
    """
    source = Path(str(input))
    if not source.is_file():
        raise CaseError(source, "no such file", "give --input a DICOM radiograph")
    if (output is None) != in_place:
        raise CaseError("--output", "is missing, or given beside --in_place", "give --output a new file, or --in_place")
    target = source if in_place else Path(str(output))
    if not in_place and target.exists():
        if os.path.samefile(target, source):
            raise CaseError(target, "is the input itself", "give another --output, or --in_place without it")
        if not overwrite:
            raise CaseError(target, "exists already", "give another --output or --overwrite")
    data = read_header(source)
    if data.get("Modality") in TOMOGRAPHIC or "PixelData" not in data:
        problem = f"is no radiograph (modality {data.get('Modality')})"
        raise CaseError(source, problem, "give a CR, DX, RG, RF or XA image")
    set_geometry(data, sdd, sod, pixel_spacing, primary_angle, secondary_angle)
    with atomic_path(target) as path:
        data.save_as(path)
    return str(target)


if __name__ == "__main__":
    run_command(add_geometry)
