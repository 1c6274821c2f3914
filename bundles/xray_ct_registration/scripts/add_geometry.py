"""Add the source-to-detector distance and related geometry to a DICOM radiograph.

From the bundle folder: `python -m scripts.add_geometry --input xray.dcm --output xray_sdd.dcm --sdd 1020`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .shared.engines.terminal import run_command
from .shared.io.atomic import atomic_path
from .shared.io.dicom import read_header
from .shared.io.errors import CaseError
from .shared.xray.geometry import write_geometry
from .shared.xray.header import TOMOGRAPHIC


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
    if all(value is None for value in (sdd, sod, pixel_spacing, primary_angle, secondary_angle)):
        advice = "give --sdd, --sod, --pixel_spacing, --primary_angle or --secondary_angle"
        raise CaseError("add_geometry", "has nothing to add", advice)
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
    write_geometry(data, sdd, sod, pixel_spacing, primary_angle, secondary_angle)
    with atomic_path(target) as path:
        data.save_as(path)
    return str(target)


if __name__ == "__main__":
    run_command(add_geometry)
