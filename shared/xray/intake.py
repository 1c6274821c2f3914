"""A radiograph as attenuation with its geometry: one intake for all that needs more than a picture.

What the user says as an option counts first, then the side car of the image (:mod:`shared.xray.side_car`), then the
header of the file. Where two of them contradict each other, a warning says which is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ..io.dicom import displayed_pixels, read_header
from ..io.errors import CaseError
from ..io.file_names import VOLUME_SUFFIXES, image_suffix, is_dicom
from .attenuation import ABSORBING, attenuation, dicom_absorbing
from .header import SDD_MM, SOD_MM, Header, modality_problem, option_number, option_spacing
from .pixel_size import PixelSize, contradiction, header_pixel_size, on_detector
from .reader import check_radiograph, read_file
from .side_car import read_side_car

WINDOWS = ("WindowCenter", "WindowWidth", "VOILUTSequence", "VOILUTFunction")


@dataclass(frozen=True)
class Given:
    """What the user says about radiographs.

    Attributes:
        pixel_spacing: mm on the detector between rows and between columns, or one number for both; None: unknown.
        sdd: source-to-detector distance in mm.
        sod: source-to-patient distance in mm.
        absorbing: "bright" or "dark" for values that are linear in the attenuation, "intensity" for values that are
            linear in the intensity at the detector; "auto" asks the header, and takes pictures as "bright".

    Raises:
        CaseError: for values that cannot be.
    """

    pixel_spacing: float | Sequence[float] | None = None
    sdd: float | None = None
    sod: float | None = None
    absorbing: str = "auto"

    def __post_init__(self) -> None:
        if self.absorbing not in ABSORBING:
            raise CaseError("--absorbing", f"is {self.absorbing}", f"choose one of {', '.join(ABSORBING)}")
        for name, value, limits in (("sdd", self.sdd, SDD_MM), ("sod", self.sod, SOD_MM)):
            if value is not None:
                option_number(name, value, limits)
        _ = self.spacing

    @property
    def spacing(self) -> tuple[float, float] | None:
        """mm between columns and between rows."""
        return None if self.pixel_spacing is None else option_spacing("pixel_spacing", self.pixel_spacing)


@dataclass
class Xray:
    """A radiograph.

    Attributes:
        pixels: (rows, columns) float32 in 0..1, linear in the line integral of attenuation as far as the file allows.
        header: of a DICOM file; empty for others.
        absorbing: how the values of the file were taken: "bright", "dark" or "intensity".
        polarity_known: whether the file or the user says so.
        pixel_size: None where unknown.
        sdd: source-to-detector distance in mm, None where unknown.
        sod: source-to-patient distance in mm, None where unknown.
        sources: what says "sdd" and "sod": "option", "side car" or "header".
        offset_mm: from the middle of the detector to where the central ray meets it, along columns and rows.
        warnings: what contradicts or cannot be right.
    """

    pixels: np.ndarray
    header: Header
    absorbing: str
    polarity_known: bool
    pixel_size: PixelSize | None = None
    sdd: float | None = None
    sod: float | None = None
    sources: dict[str, str] = field(default_factory=dict)
    offset_mm: tuple[float, float] = (0.0, 0.0)
    warnings: list[str] = field(default_factory=list)


def read_values(path: Path, absorbing: str) -> tuple[np.ndarray, Dataset, str, PixelSize | None]:
    """Attenuation (rows, columns), header, how the values were taken, and the pixel size of a file without a header.

    The window of a DICOM file is not applied: it would cut off what lies outside of it.

    Raises:
        CaseError: when it is no single radiograph.
    """
    if image_suffix(path) in VOLUME_SUFFIXES or not is_dicom(path):
        found = read_file(path)
        check_radiograph(path, found.pixels)
        chosen = "bright" if absorbing == "auto" else absorbing
        return attenuation(found.pixels.T, chosen), Dataset(), chosen, found.pixel_size
    data = read_header(path)
    if (problem := modality_problem(path, data)) is not None:
        raise problem
    chosen = dicom_absorbing(data) if absorbing == "auto" else absorbing
    for name in WINDOWS:
        if name in data:
            del data[name]
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        data.PhotometricInterpretation = "MONOCHROME2"
    values = displayed_pixels(path, data)
    check_radiograph(path, values.T)
    return attenuation(values, chosen), data, chosen, None


def first_told(*told: tuple[str, float | None]) -> tuple[str, float | None]:
    """The first source that says a number, and the number."""
    return next(((source, value) for source, value in told if value is not None), ("unknown", None))


def read_xray(path: str | os.PathLike, given: Given | None = None) -> Xray:
    """A radiograph of any format as attenuation, with what is known about its geometry.

    Args:
        path: DICOM, PNG, JPEG, BMP, TIFF, or NIfTI, MHA, NRRD of one slice.
        given: by the user.

    Raises:
        CaseError: when it is no radiograph, or its side car does not fit.
    """
    path, given = Path(path), given or Given()
    if not path.is_file():
        raise CaseError(path, "no such file", "give an X-ray: DICOM, PNG, JPEG, TIFF, NIfTI, MHA or NRRD")
    pixels, data, absorbing, file_size = read_values(path, given.absorbing)
    beside = read_side_car(path, (pixels.shape[0], pixels.shape[1]))
    names = {"option": "the option", "side car": beside.path.name if beside else ""}
    stored, warnings, sources, distances = Header(data), [], {}, {}
    for name, label in (("sdd", "source-to-detector distance"), ("sod", "source-to-patient distance")):
        told = getattr(stored, name)()
        sources[name], value = first_told(("option", getattr(given, name)), ("side car", getattr(beside, name, None)))
        if value is not None:
            warnings += contradiction(label, [value], None if told is None else [told], names[sources[name]])
        distances[name] = value
    header = Header(data, **distances)
    size = header_pixel_size(header)
    if file_size is not None and file_size.detector_mm is not None:
        size = on_detector(file_size.detector_mm, file_size.source, header.magnification())
    for source, spacing in (("option", given.spacing), ("side car", beside.detector_mm if beside else None)):
        if spacing is not None:
            warnings += contradiction("pixel size", spacing, size.detector_mm if size else None, names[source])
            size = on_detector(spacing, source, header.magnification())
            break
    sdd, sod = header.sdd(), header.sod()
    for name, value in (("sdd", sdd), ("sod", sod)):
        if value is None:
            sources[name] = "unknown"
        elif distances[name] is None:
            sources[name] = "header"
    return Xray(
        pixels,
        header,
        absorbing,
        polarity_known=bool(len(data)) or given.absorbing != "auto",
        pixel_size=size,
        sdd=sdd,
        sod=sod,
        sources=sources,
        offset_mm=beside.offset_mm if beside else (0.0, 0.0),
        warnings=[*warnings, *header.warnings],
    )
