"""An X-ray as registration needs it: what absorbs is bright, and the geometry of the detector is known."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydicom.dataset import Dataset
from torch import Tensor

from .shared.cases import CaseError, is_dicom
from .shared.dicom import displayed_pixels, read_header
from .shared.drr.dicom import detector_spacing, pose_from_dicom
from .shared.drr.geometry import Detector
from .shared.readers import TOMOGRAPHIC, XrayReader, check_radiograph

logger = logging.getLogger(__name__)

Absorbing = Literal["auto", "bright", "dark", "intensity"]
ABSORBING = ("auto", "bright", "dark", "intensity")
TOOL = "python -m scripts.add_geometry --input {0} --output {1}_geometry.dcm"
SHOWN_PERCENTILES = (0.1, 99.9)  # collimator edges and burnt-in text lie outside
MIN_SIZE, MAX_ASPECT = 32, 10.0
WINDOWS = ("WindowCenter", "WindowWidth", "VOILUTSequence", "VOILUTFunction")


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


def attenuation(values: np.ndarray, absorbing: str) -> np.ndarray:
    """Pixel values as log attenuation, scaled to 0..1.

    Args:
        values: (rows, columns).
        absorbing: "bright" or "dark" where the values are linear in the attenuation, rising or falling; "intensity"
            where they are linear in the intensity at the detector, of which the logarithm is taken (Beer-Lambert).

    Returns:
        (rows, columns) float32.
    """
    values = values.astype(np.float64)
    if absorbing == "intensity":
        brightest = max(float(values.max()), 1e-12)
        values = -np.log(np.clip(values / brightest, 1 / 65536, 1.0))  # no detector resolves more than 16 bits
    elif absorbing == "dark":
        values = -values
    low, high = np.percentile(values, SHOWN_PERCENTILES)
    if high <= low:
        low, high = values.min(), values.max()
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def dicom_absorbing(data: Dataset) -> str:
    """How the stored values of a radiograph depend on what absorbs, from its header.

    The pixel intensity relationship and its sign say it (DICOM PS3.3 C.8.7.1.1.2 and C.8.11.3.1.2). Where they are
    missing it follows from how the image is to be shown: with bones bright, save for fluoroscopy.
    """
    relationship = str(data.get("PixelIntensityRelationship") or "").upper()
    sign = data.get("PixelIntensityRelationshipSign")
    if relationship == "LIN" and sign != -1:
        return "intensity"
    if sign in (1, -1):
        return "dark" if sign == 1 else "bright"
    if relationship == "LOG":
        return "dark"
    inverted = data.get("PhotometricInterpretation") == "MONOCHROME1"
    return "dark" if inverted != (data.get("Modality") in ("XA", "RF")) else "bright"


def header_spacing(data: Dataset) -> tuple[tuple[float, float], str] | None:
    """Pixel size on the detector along u and v in mm, and the DICOM attribute that it comes from; None where unknown.

    A scanned film was the detector itself.
    """
    name = "ImagerPixelSpacing" if data.get("ImagerPixelSpacing") else "PixelSpacing"
    spacing = detector_spacing(data)
    if spacing is None and data.get("NominalScannedPixelSpacing"):
        rows, columns = data.NominalScannedPixelSpacing
        name, spacing = "NominalScannedPixelSpacing", (float(columns), float(rows))
    if spacing is None or not all(0.001 < size < 10 for size in spacing):
        return None
    return spacing, name


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


def read_dicom(path: Path, absorbing: str) -> tuple[np.ndarray, Dataset, str]:
    """Attenuation (rows, columns) of a DICOM radiograph, its header, and how its values were taken.

    The window for display is not applied: it would cut off what lies outside of it.

    Raises:
        CaseError: when it is no single radiograph.
    """
    data = read_header(path)
    if (kind := TOMOGRAPHIC.get(data.get("Modality", ""))) is not None:
        raise CaseError(path, f"is {kind}", "give a radiograph (CR, DX, RG, RF, XA)")
    chosen = dicom_absorbing(data) if absorbing == "auto" else absorbing
    for name in WINDOWS:
        if name in data:
            del data[name]
    data.PhotometricInterpretation = (
        "MONOCHROME2"
        if data.get("PhotometricInterpretation") == "MONOCHROME1"
        else data.get("PhotometricInterpretation")
    )
    values = displayed_pixels(path, data)
    check_radiograph(path, values.T, MIN_SIZE, MAX_ASPECT)
    return attenuation(values, chosen), data, chosen


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
