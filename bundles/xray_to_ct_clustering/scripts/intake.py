"""Any frontal or lateral X-ray as attenuation with its geometry, as far as file and options tell it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from .shared.io.errors import CaseError
from .shared.io.file_names import is_dicom
from .shared.io.readers import XrayReader
from .shared.xray.attenuation import ABSORBING, MAX_ASPECT, MIN_SIZE, attenuation, header_spacing, read_dicom

CASSETTE_MM = 430.0  # longer side of the usual detector of a chest stand
CHEST_MM = (250.0, 600.0)  # longer side of plausible chest X-rays
RIGHTWARD = {"frontal": "L", "lateral": "P"}  # side of the patient at the right of the picture, as it is read
OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Options:
    """What the user says about the X-rays, instead of what their files say.

    Attributes:
        pixel_spacing: mm on the detector between rows and between columns, or one number for both; None: unknown.
        sdd: source-to-detector distance in mm.
        source_to_isocenter: source to the middle of the patient in mm.
        absorbing: "auto", or "bright", "dark" or "intensity" as of `shared.xray.attenuation.attenuation`.
        orientation: "auto" brings turned and mirrored pictures into the usual position, "as_is" takes them so.
        frontal_view: "auto" (the header, else that of training), "PA" or "AP".
        lateral_side: side against the detector: "auto", "left" or "right".
    """

    pixel_spacing: float | Sequence[float] | None = None
    sdd: float | None = None
    source_to_isocenter: float | None = None
    absorbing: str = "auto"
    orientation: str = "auto"
    frontal_view: str = "auto"
    lateral_side: str = "auto"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("absorbing", self.absorbing, ABSORBING),
            ("orientation", self.orientation, ("auto", "as_is")),
            ("frontal_view", self.frontal_view, ("auto", "PA", "AP")),
            ("lateral_side", self.lateral_side, ("auto", "left", "right")),
        ):
            if value not in allowed:
                raise CaseError(f"--{name}", f"is {value}", f"choose one of {', '.join(allowed)}")
        for name, distance in (("sdd", self.sdd), ("source_to_isocenter", self.source_to_isocenter)):
            if distance is not None and not 100 <= distance <= 5000:
                raise CaseError(f"--{name}", f"is {distance}", "give a distance in mm, 100 to 5000")
        if self.spacing is not None and not all(0.001 < size < 20 for size in self.spacing):
            raise CaseError("--pixel_spacing", f"is {self.pixel_spacing}", "give mm on the detector, 0.001 to 20")

    @property
    def spacing(self) -> tuple[float, float] | None:
        """mm between columns and between rows."""
        if self.pixel_spacing is None:
            return None
        if isinstance(self.pixel_spacing, (int, float)):
            return float(self.pixel_spacing), float(self.pixel_spacing)
        rows, columns = self.pixel_spacing
        return float(columns), float(rows)


@dataclass
class Picture:
    """One X-ray.

    Attributes:
        pixels: (rows, columns) float32 in 0..1, bright where much is absorbed if ``polarity_known``.
        spacing_mm: between columns and between rows on the detector.
        sdd_mm: source to detector, None where unknown.
        source_mm: source to patient, None where unknown.
        projection: "PA", "AP", "left", "right" or None where unknown.
        polarity_known: whether the file or the user says what absorbs.
        upright: whether the file says how the patient lies in the picture, or the user that it is as it should be.
        facts: what is reported: where each of these comes from.
        warnings: what was assumed.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float]
    sdd_mm: float | None = None
    source_mm: float | None = None
    projection: str | None = None
    polarity_known: bool = False
    upright: bool = False
    facts: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def usual_position(pixels: np.ndarray, directions: Sequence[str], view: str) -> np.ndarray | None:
    """Pixels turned and mirrored into the position in which a view is read; None where the directions do not fit.

    Args:
        pixels: (rows, columns).
        directions: DICOM PatientOrientation: the patient's side towards which a row runs, and a column, such as
            ("L", "F"); finer letters after the first do not count.
        view: "frontal" or "lateral".
    """
    row, column = (str(letters or " ")[0].upper() for letters in directions)
    right = RIGHTWARD[view]
    if row in "HF":
        pixels, row, column = pixels.T, column, row
    if column not in "HF" or row not in (right, OPPOSITE[right]):
        return None
    pixels = pixels if row == right else pixels[:, ::-1]
    return np.ascontiguousarray(pixels if column == "F" else pixels[::-1])


def projection_of(data: Dataset, view: str) -> str | None:
    """Direction of the beam that a header knows: "PA" or "AP", or the side against the detector."""
    position = str(data.get("ViewPosition") or "").upper()
    if view == "frontal":
        return position if position in ("PA", "AP") else None
    return {"LL": "left", "RL": "right"}.get(position)


def positive(data: Dataset, name: str) -> float | None:
    """A distance in mm from a header, None where there is none."""
    value = data.get(name)
    return float(value) if value not in (None, "") and float(value) > 0 else None


def read_view(path: str | os.PathLike, view: str, options: Options) -> Picture:
    """An X-ray of any format.

    Args:
        path: DICOM, PNG, JPEG, TIFF, or NIfTI, MHA, NRRD of one slice.
        view: "frontal" or "lateral".
        options: of the user, which count more than what the file says.

    Raises:
        CaseError: where it is no radiograph.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError(path, "no such file", "give an X-ray: DICOM, PNG, JPEG, TIFF, NIfTI, MHA or NRRD")
    picture = read_dicom_view(path, view, options) if is_dicom(path) else read_plain_view(path, options)
    wanted = options.frontal_view if view == "frontal" else options.lateral_side
    if wanted != "auto":
        picture.projection = wanted
    picture.facts["file"] = path.name
    picture.upright = picture.upright or options.orientation == "as_is"
    return picture


def read_dicom_view(path: Path, view: str, options: Options) -> Picture:
    """`read_view` of a DICOM file."""
    pixels, data, chosen = read_dicom(path, options.absorbing)
    directions = data.get("PatientOrientation") or []
    swapped = len(directions) == 2 and str(directions[0] or " ")[0].upper() in "HF"
    upright = usual_position(pixels, directions, view) if len(directions) == 2 else None
    spacing, source = header_spacing(data) or (None, "")
    if spacing is not None and swapped and upright is not None:
        spacing = spacing[1], spacing[0]
    shown = pixels if upright is None else upright
    size, facts = pixel_size(shown, spacing, source, options)
    picture = Picture(shown, size, facts=facts)
    picture.sdd_mm = options.sdd or positive(data, "DistanceSourceToDetector")
    picture.source_mm = options.source_to_isocenter or positive(data, "DistanceSourceToPatient")
    picture.projection = projection_of(data, view)
    picture.polarity_known, picture.upright = True, upright is not None
    picture.facts["absorbing"] = chosen
    if len(directions) == 2 and upright is None:
        picture.warnings.append(f"its PatientOrientation {'/'.join(map(str, directions))} does not fit a {view} view")
    return finished(picture)


def read_plain_view(path: Path, options: Options) -> Picture:
    """`read_view` of any other file."""
    values, meta = XrayReader(MIN_SIZE, MAX_ASPECT).get_data(path)
    spacing: tuple[float, float] | None = None
    if meta["spacing_source"] == "file":
        sizes = np.linalg.norm(meta["affine"][:3, :2], axis=0)
        spacing = float(sizes[0]), float(sizes[1])
    chosen = "bright" if options.absorbing == "auto" else options.absorbing
    pixels = attenuation(values.T, chosen)
    size, facts = pixel_size(pixels, spacing, "file", options)
    picture = Picture(pixels, size, facts=facts)
    picture.sdd_mm, picture.source_mm = options.sdd, options.source_to_isocenter
    picture.polarity_known = options.absorbing != "auto"
    picture.facts["absorbing"] = chosen
    return finished(picture)


def pixel_size(
    pixels: np.ndarray, spacing: tuple[float, float] | None, source: str, options: Options
) -> tuple[tuple[float, float], dict[str, object]]:
    """mm between columns and between rows, and what is reported about them."""
    if options.spacing is not None:
        spacing, source = options.spacing, "option"
    if spacing is None:
        size = CASSETTE_MM / max(pixels.shape)
        spacing, source = (size, size), "assumed"
    return spacing, {"mm_per_pixel": [round(size, 4) for size in spacing], "mm_per_pixel_source": source}


def finished(picture: Picture) -> Picture:
    """The picture with warnings about its size."""
    longer = max(n * s for n, s in zip(picture.pixels.shape[::-1], picture.spacing_mm, strict=True))
    if not CHEST_MM[0] <= longer <= CHEST_MM[1]:
        picture.warnings.append(
            f"it is {longer:.0f} mm long, a chest X-ray {CHEST_MM[0]:.0f} to {CHEST_MM[1]:.0f} mm: is its pixel size "
            "right? (set pixel_spacing)"
        )
    if picture.facts["mm_per_pixel_source"] == "assumed":
        picture.warnings.append(
            f"its pixel size is not known: the picture is taken to be {longer:.0f} mm long (set pixel_spacing)"
        )
    return picture
