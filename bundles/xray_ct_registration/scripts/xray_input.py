"""An X-ray as registration needs it: what absorbs is bright, and the geometry of the detector is known."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset
from torch import Tensor

from .shared.drr.geometry import Detector
from .shared.io.errors import CaseError
from .shared.io.file_names import is_dicom
from .shared.io.readers import XrayReader
from .shared.xray.attenuation import (
    ABSORBING,
    MAX_ASPECT,
    MIN_SIZE,
    Absorbing,
    attenuation,
    header_spacing,
    read_dicom,
)
from .shared.xray.dicom import pose_from_dicom

logger = logging.getLogger(__name__)

TOOL = "python -m scripts.add_geometry --input {0} --output {1}_geometry.dcm"


@dataclass(frozen=True)
class Xray:
    """An X-ray with its geometry.

    Attributes:
        image: (1, 1, rows, columns) float32 in 0..1, a linear function of the line integral of attenuation as far as
            the file allows.
        detector: size, pixels and distance; its principal point is the centre of the image.
        sdd_source: "header" or "argument".
        spacing_source: the DICOM attribute, "file" or "argument".
        absorbing: how the pixels of the file were read: "bright", "dark" or "intensity".
        pose: (1, 4, 4) float64, camera to world of a C-arm whose isocentre is the origin, RAS mm; None where the file
            does not know its angles.
    """

    image: Tensor
    detector: Detector
    sdd_source: str
    spacing_source: str
    absorbing: str
    pose: Tensor | None = None


def tool(path: Path) -> str:
    """The command that adds geometry to a file."""
    return TOOL.format(path, path.with_suffix(""))


def number(data: Dataset, name: str) -> float | None:
    """A numeric attribute, None where it is missing or empty."""
    value = data.get(name)
    return None if value in (None, "") else float(value)


def choose(path: Path, name: str, header: float | None, argument: float | None) -> tuple[float, str] | None:
    """The value of the header, else that of the argument, and which it is; a contradiction is logged."""
    if header is not None:
        if argument is not None and abs(header - argument) > 0.005 * header:
            logger.warning("%s: its header says %s %g mm, so that %g is not used", path, name, header, argument)
        return header, "header"
    return None if argument is None else (argument, "argument")


def spacing_pair(pixel_spacing: float | Sequence[float] | None) -> tuple[float, float] | None:
    """mm along u and v from an argument that gives the distance of rows and of columns, or one number for both.

    Raises:
        CaseError: when it is neither.
    """
    if pixel_spacing is None:
        return None
    pair = [pixel_spacing] * 2 if isinstance(pixel_spacing, (int, float)) else list(pixel_spacing)
    if len(pair) != 2 or not all(isinstance(value, (int, float)) and 0.001 < value < 10 for value in pair):
        raise CaseError("--pixel_spacing", f"is {pixel_spacing}", "give the distance of rows and of columns in mm")
    return float(pair[1]), float(pair[0])


def read_xray(
    path: str | os.PathLike,
    sdd: float | None = None,
    pixel_spacing: float | Sequence[float] | None = None,
    absorbing: Absorbing = "auto",
) -> Xray:
    """An X-ray of any format, with the geometry of its detector.

    Args:
        path: DICOM, PNG, JPEG, TIFF, or NIfTI, MHA, NRRD of one slice.
        sdd: distance from source to detector in mm, for files whose header does not say it.
        pixel_spacing: distance of rows and of columns on the detector in mm, or one number, likewise.
        absorbing: "bright" or "dark" for values that are linear in the attenuation, "intensity" for values that are
            linear in the intensity at the detector; "auto" asks the header, and takes pictures as "bright".

    Raises:
        CaseError: when it is no radiograph, or its SDD or pixel size is not known.
    """
    path = Path(path)
    if absorbing not in ABSORBING:
        raise CaseError("--absorbing", f"is {absorbing}", f"choose one of {', '.join(ABSORBING)}")
    if sdd is not None and not 100 <= sdd <= 5000:
        raise CaseError("--sdd", f"is {sdd}", "give the source-to-detector distance in mm, 100 to 5000")
    if not path.is_file():
        raise CaseError(path, "no such file", "give an X-ray: DICOM, PNG, JPEG, TIFF, NIfTI, MHA or NRRD")
    given = spacing_pair(pixel_spacing)
    if not is_dicom(path):
        return read_picture_xray(path, sdd, given, "bright" if absorbing == "auto" else absorbing)
    pixels, data, chosen = read_dicom(path, absorbing)
    distance = choose(path, "SDD", number(data, "DistanceSourceToDetector") or None, sdd)
    if distance is None:
        problem = "has no source-to-detector distance (SDD) in its header"
        raise CaseError(path, problem, f"add it with {tool(path)} --sdd MM, or give --sdd")
    spacing = header_spacing(data) or (None if given is None else (given, "argument"))
    if spacing is None:
        problem = "has no pixel spacing on the detector in its header"
        raise CaseError(path, problem, f"add it with {tool(path)} --pixel_spacing MM, or give --pixel_spacing")
    rows, columns = pixels.shape
    return Xray(
        torch.from_numpy(pixels)[None, None],
        Detector(rows, columns, spacing[0], distance[0]),
        distance[1],
        spacing[1],
        chosen,
        pose_from_dicom(data),
    )


def read_picture_xray(path: Path, sdd: float | None, given: tuple[float, float] | None, absorbing: str) -> Xray:
    """An X-ray from a file without DICOM geometry.

    Raises:
        CaseError: when it is no radiograph, or its SDD or pixel size is not known.
    """
    values, meta = XrayReader(MIN_SIZE, MAX_ASPECT).get_data(path)
    spacing, source = given, "argument"
    if spacing is None and meta["spacing_source"] == "file":
        sizes = np.linalg.norm(meta["affine"][:3, :2], axis=0)
        spacing, source = (float(sizes[0]), float(sizes[1])), "file"
    missing = [name for name, value in (("--sdd", sdd), ("--pixel_spacing", spacing)) if value is None]
    if sdd is None or spacing is None:
        raise CaseError(path, "does not say its geometry", f"give {' and '.join(missing)} in mm")
    pixels = attenuation(values.T, absorbing)
    rows, columns = pixels.shape
    detector = Detector(rows, columns, spacing, sdd)
    return Xray(torch.from_numpy(pixels)[None, None], detector, "argument", source, absorbing)
