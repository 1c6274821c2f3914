"""Any frontal or lateral X-ray as attenuation with its geometry, as far as file and options tell it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .shared.io.errors import CaseError
from .shared.xray.header import SOD_MM, Header, option_number
from .shared.xray.intake import Given, Xray, read_xray
from .shared.xray.pixel_size import PixelSize, on_detector

CASSETTE_MM = 430.0  # longer side of the usual detector of a chest stand
CHEST_MM = (250.0, 600.0)  # longer side of plausible chest X-rays
RIGHTWARD = {"frontal": "L", "lateral": "P"}  # side of the patient at the right of the picture, as it is read
IDENTITY = ("PatientID", "StudyInstanceUID")
ORIENTATIONS = ("auto", "as_is")
OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Options:
    """What the user says about the X-rays, instead of what their files say.

    Attributes:
        pixel_spacing: mm on the detector between rows and between columns, or one number for both; None: unknown.
        sdd: source-to-detector distance in mm.
        source_to_isocenter: source to the middle of the patient in mm.
        absorbing: "auto", or "bright", "dark" or "intensity" as of `shared.xray.attenuation.attenuation`.
        orientation: "auto" brings turned pictures, and laterals that face the other way, into the usual position,
            "as_is" takes them as they lie. A frontal picture is never mirrored unless its header or ``mirror`` says so.
        mirror: the view whose picture is mirrored: "frontal", "lateral", "both" or "none".
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
    mirror: str = "none"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("orientation", self.orientation, ORIENTATIONS),
            ("frontal_view", self.frontal_view, ("auto", "PA", "AP")),
            ("lateral_side", self.lateral_side, ("auto", "left", "right")),
            ("mirror", self.mirror, ("none", "frontal", "lateral", "both")),
        ):
            if value not in allowed:
                raise CaseError(f"--{name}", f"is {value}", f"choose one of {', '.join(allowed)}")
        if self.source_to_isocenter is not None:
            option_number("source_to_isocenter", self.source_to_isocenter, SOD_MM)
        _ = self.given  # checks the others

    @property
    def given(self) -> Given:
        """What counts for radiographs of any part of the body."""
        return Given(self.pixel_spacing, self.sdd, self.source_to_isocenter, self.absorbing)


@dataclass
class Picture:
    """One X-ray.

    Attributes:
        pixels: (rows, columns) float32 in 0..1, bright where much is absorbed if ``polarity_known``.
        pixel_size: of these pixels.
        sdd_mm: source to detector, None where unknown.
        source_mm: source to patient, None where unknown.
        projection: "PA", "AP", "left", "right" or None where unknown.
        polarity_known: whether the file or the user says what absorbs.
        orientation: "header" where the file says how the patient lies in the picture, "option" where the user says that
            it is as it should be, else "unknown".
        identity: attributes of a header that two views of one patient share.
        facts: what is reported: where each of these comes from.
        warnings: what was assumed.
    """

    pixels: np.ndarray
    pixel_size: PixelSize
    sdd_mm: float | None = None
    source_mm: float | None = None
    projection: str | None = None
    polarity_known: bool = False
    orientation: str = "unknown"
    identity: dict[str, str] = field(default_factory=dict)
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


def projection_of(header: Header, view: str) -> str | None:
    """Direction of the beam that a header knows: "PA" or "AP", or the side against the detector."""
    position = header.text("ViewPosition").upper()
    if view == "frontal":
        return position if position in ("PA", "AP") else None
    return {"LL": "left", "RL": "right"}.get(position)


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
    xray = read_xray(path, options.given)
    pixels, size, orientation, warnings = turned_by_header(xray, view)
    picture = Picture(
        pixels,
        size or assumed_size(pixels, xray.header),
        sdd_mm=xray.sdd,
        source_mm=xray.sod,
        projection=projection_of(xray.header, view),
        polarity_known=xray.polarity_known,
        orientation=orientation,
        identity={tag: xray.header.text(tag) for tag in IDENTITY},
        facts={"file": path.name, "absorbing": xray.absorbing},
        warnings=[*xray.warnings, *warnings],
    )
    if options.mirror in (view, "both"):
        picture.pixels, picture.orientation = np.ascontiguousarray(picture.pixels[:, ::-1]), "option"
    elif options.orientation == "as_is":
        picture.orientation = "option" if orientation == "unknown" else orientation
    wanted = options.frontal_view if view == "frontal" else options.lateral_side
    if wanted != "auto":
        picture.projection = wanted
    if any(xray.offset_mm):
        picture.warnings.append("the central ray of its side car is off the middle of the detector: not used")
    picture.warnings += size_warnings(picture)
    return picture


def turned_by_header(xray: Xray, view: str) -> tuple[np.ndarray, PixelSize | None, str, list[str]]:
    """Pixels in the usual position as far as the header says it, their size, what says the position, and warnings."""
    text = xray.header.text("PatientOrientation")
    directions = text.split("\\")
    if len(directions) != 2 or not all(directions):
        return xray.pixels, xray.pixel_size, "unknown", []
    turned = usual_position(xray.pixels, directions, view)
    if turned is None:
        shown = "/".join(directions)
        return xray.pixels, xray.pixel_size, "unknown", [f"its PatientOrientation {shown} does not fit a {view} view"]
    swapped = directions[0][0].upper() in "HF" and xray.pixel_size is not None
    return turned, xray.pixel_size.swapped() if swapped and xray.pixel_size else xray.pixel_size, "header", []


def assumed_size(pixels: np.ndarray, header: Header) -> PixelSize:
    """Pixels of a picture that is as long as the detector of a chest stand."""
    size = CASSETTE_MM / max(pixels.shape)
    return on_detector((size, size), f"assumed: a picture {CASSETTE_MM:g} mm long", header.magnification())


def size_warnings(picture: Picture) -> list[str]:
    """What is strange about the size of a picture."""
    size = picture.pixel_size
    longer = max(n * s for n, s in zip(picture.pixels.shape[::-1], size.detector_mm or size.mm, strict=True))
    warnings = []
    if not CHEST_MM[0] <= longer <= CHEST_MM[1]:
        warnings.append(
            f"it is {longer:.0f} mm long, a chest X-ray {CHEST_MM[0]:.0f} to {CHEST_MM[1]:.0f} mm: is its pixel size "
            "right? (set pixel_spacing)"
        )
    if size.source.startswith("assumed"):
        warnings.append(
            f"its pixel size is not known: the picture is taken to be {longer:.0f} mm long (set pixel_spacing)"
        )
    return warnings
