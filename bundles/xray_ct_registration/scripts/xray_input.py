"""An X-ray as registration needs it: what absorbs is bright, and the geometry of the detector is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .shared.drr.geometry import Detector
from .shared.io.errors import CaseError
from .shared.xray.attenuation import Absorbing
from .shared.xray.intake import Given, Xray, read_xray
from .shared.xray.side_car import side_car_path

TOOL = "python -m scripts.add_geometry --input {0} --output {1}_geometry.dcm"
SPACING_TAGS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing")


def read_view(
    path: str | os.PathLike,
    sdd: float | None = None,
    pixel_spacing: float | Sequence[float] | None = None,
    absorbing: Absorbing = "auto",
) -> tuple[Xray, Detector]:
    """An X-ray of any format, with its detector.

    Args:
        path: DICOM, PNG, JPEG, TIFF, or NIfTI, MHA, NRRD of one slice.
        sdd: distance from source to detector in mm, instead of what side car or header say.
        pixel_spacing: distance of rows and of columns on the detector in mm, or one number, likewise.
        absorbing: see `shared.xray.intake.Given`.

    Raises:
        CaseError: when it is no radiograph, or its SDD or pixel size is not known.
    """
    path = Path(path)
    xray = read_xray(path, Given(pixel_spacing, sdd, None, absorbing))
    on_detector = xray.pixel_size.detector_mm if xray.pixel_size is not None else None
    if xray.sdd is None or on_detector is None:
        raise missing_geometry(path, xray)
    rows, columns = xray.pixels.shape
    return xray, Detector(rows, columns, on_detector, xray.sdd, xray.offset_mm)


def missing_geometry(path: Path, xray: Xray) -> CaseError:
    """What an X-ray does not say, or says wrongly, and where to put it."""
    problems = xray.header.problems
    lacks_sdd = xray.sdd is None
    lacks_spacing = xray.pixel_size is None or xray.pixel_size.detector_mm is None
    options = [name for name, lacks in (("sdd", lacks_sdd), ("pixel_spacing", lacks_spacing)) if lacks]
    wrong = [problems[tag] for tag in ("DistanceSourceToDetector",) if lacks_sdd and tag in problems]
    wrong += [problems[tag] for tag in SPACING_TAGS if lacks_spacing and tag in problems]
    listed = " and ".join(f"--{name}" for name in options)
    if not len(xray.header.data):
        advice = f"give {listed} in mm, or a file {side_car_path(path).name} beside it"
        return CaseError(path, "does not say its geometry", advice)
    kinds = {"sdd": "source-to-detector distance (SDD)", "pixel_spacing": "pixel spacing on the detector"}
    problem = "; ".join(wrong) or f"has no {' and no '.join(kinds[name] for name in options)} in its header"
    command = TOOL.format(path, path.with_suffix("")) + "".join(f" --{name} MM" for name in options)
    return CaseError(path, problem, f"add it with {command}, or give {listed}")
