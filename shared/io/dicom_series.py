"""CT and MR volumes from the slices of a DICOM series."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset

from ..geometry.frames import lps_to_ras
from .dicom import read_header
from .errors import CaseError
from .image_files import DAMAGED

TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "PatientID",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleIntercept",
]
PLACE_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
SLICE_TOLERANCE = 0.05  # deviation from the usual distance of slices, as a fraction of it
ROUNDING_MM = 0.1  # of the positions that some scanners write
SAME_PLACE_MM = 0.01
TILT_DEG = 0.5
NEW_EXPORT = "export the complete series again, or resample it to even slices"


@dataclass
class Slice:
    """One file of a series and its header."""

    path: Path
    header: Dataset

    @property
    def uid(self) -> str:
        """Identifier of the series."""
        return str(self.header.get("SeriesInstanceUID") or "")

    @property
    def frames(self) -> int:
        return int(self.header.get("NumberOfFrames") or 1)

    def is_image(self) -> bool:
        """Whether it may be part of a volume: no scout, and no object without pixels, such as a report or a plan."""
        return bool(self.header.get("Rows")) and "LOCALIZER" not in (self.header.get("ImageType") or [])

    def has_place(self) -> bool:
        """Whether it says where in the patient it lies, as screenshots and dose sheets do not."""
        return all(self.header.get(tag) for tag in PLACE_TAGS)


def read_slices(paths: Iterable[Path]) -> list[Slice]:
    """Headers of DICOM files, in the order of the files.

    Raises:
        CaseError: for a file that is no DICOM or is cut off within its header.
    """
    return [Slice(path, read_header(path, TAGS, stop_before_pixels=True)) for path in paths]


def image_slices(slices: Sequence[Slice]) -> list[Slice]:
    """The slices of volumes: without scouts and other objects; those without a place count where no other has one."""
    images = [item for item in slices if item.is_image()]
    placed = [item for item in images if item.has_place() or item.frames > 1]
    return placed or images


def pixel_bytes(path: Path) -> bytes:
    """Pixels of a file as stored, for comparison."""
    return bytes(pydicom.dcmread(path, force=True).get("PixelData", b""))


def without_copies(slices: Sequence[Slice]) -> list[Slice]:
    """The slices without those that are files of the same object, or the same pixels at the same place."""
    kept: dict[tuple, list[Slice]] = {}
    for item in slices:
        place = np.round(np.asarray(item.header.get("ImagePositionPatient") or [], dtype=float), 2)
        others = kept.setdefault((item.uid, *place.tolist()), [])
        uid = item.header.get("SOPInstanceUID")
        same = any(uid and uid == other.header.get("SOPInstanceUID") for other in others)
        if not same and len(place) and others:
            same = any(pixel_bytes(item.path) == pixel_bytes(other.path) for other in others)
        if not same:
            others.append(item)
    unique = {id(item) for others in kept.values() for item in others}
    return [item for item in slices if id(item) in unique]


def check_series(folder: Path, slices: Sequence[Slice]) -> None:
    """Refuse slices that do not belong into one volume.

    Raises:
        CaseError: none at all, several series, missing positions, or slices of different size or direction.
    """
    if not slices:
        raise CaseError(folder, "holds no image slices", "give the folder of one DICOM series")
    series = Counter(item.uid for item in slices)
    if len(series) > 1:
        sizes = ", ".join(f"{count} slices" for _, count in series.most_common(4))
        raise CaseError(folder, f"holds {len(series)} series ({sizes})", "put each series into a folder of its own")
    for item in slices:
        if not item.has_place():
            raise CaseError(item.path, "has no position in the patient", "export the series again from the archive")
    first = slices[0].header
    for item in slices[1:]:
        if not same_plane(first, item.header):
            problem = f"differs from {slices[0].path.name} in size, pixel spacing or direction"
            raise CaseError(item.path, problem, "give a series of slices of one kind")


def same_plane(first: Dataset, second: Dataset) -> bool:
    """Whether two slices with a place have the same size, pixels and direction."""
    return (first.Rows, first.Columns) == (second.Rows, second.Columns) and all(
        np.allclose(np.asarray(first[tag].value, float), np.asarray(second[tag].value, float), atol=1e-3)
        for tag in ("ImageOrientationPatient", "PixelSpacing")
    )


def check_steps(path: str | os.PathLike, along: np.ndarray, names: Sequence[str]) -> None:
    """Refuse planes that are doubled, missing or unevenly spaced.

    Positions that a scanner has rounded to a tenth of a millimetre are even: no plane lies farther than that from where
    an even stack has it.

    Args:
        path: for the message.
        along: (N,) places along the normal in mm, in order.
        names: of the planes.

    Raises:
        CaseError: what is wrong, between which planes.
    """
    steps = np.diff(along)
    usual = float(np.median(steps))
    if (steps < SAME_PLACE_MM).any():
        where = int(steps.argmin())
        problem = f"holds two slices at one place ({names[where]} and {names[where + 1]})"
        raise CaseError(path, problem, "put each phase or repetition into a folder of its own")
    even = np.linspace(along[0], along[-1], len(along))
    allowed = max(SLICE_TOLERANCE * usual, min(ROUNDING_MM, 0.3 * usual) + 1e-6)
    if np.abs(steps - usual).max() <= allowed and np.abs(along - even).max() <= allowed:
        return
    where = int(np.abs(steps - usual).argmax())
    gap, pair = float(steps[where]), f"{names[where]} and {names[where + 1]}"
    if round(gap / usual) >= 2 and abs(gap / usual - round(gap / usual)) < 0.1 * round(gap / usual):
        raise CaseError(path, f"lacks {round(gap / usual) - 1} slices between {pair}", NEW_EXPORT)
    problem = f"has uneven slices, {gap:.2f} mm between {pair} where {usual:.2f} mm are usual"
    raise CaseError(path, problem, NEW_EXPORT)


def stack_planes(
    path: str | os.PathLike, direction: Sequence[float], spacing: Sequence[float], points: np.ndarray, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Order of parallel planes along their normal, and the affine of their stack.

    Args:
        path: for the message.
        direction: of rows and columns (6,), LPS, as DICOM has it.
        spacing: distance of rows and of columns, mm.
        points: (N, 3) centre of the first pixel of each plane, LPS mm.
        names: of the planes.

    Returns:
        indices (N,) of the planes in order; (4, 4), indices (column, row, plane) to RAS mm.

    Raises:
        CaseError: a single plane, gantry tilt, planes that are missing, doubled or unevenly spaced.
    """
    if len(points) < 2:
        raise CaseError(path, "holds a single slice", "give the folder of the whole series")
    row, column = np.reshape(np.asarray(direction, float), (2, 3))
    normal = np.cross(row, column)
    order = np.argsort(points @ normal, kind="stable")
    points = points[order]
    way = points[-1] - points[0]
    along = float(way @ normal)
    tilt = np.degrees(np.arctan2(np.linalg.norm(way - along * normal), along))
    if along > 0 and tilt > TILT_DEG:
        problem = f"was scanned with a gantry tilt of {tilt:.1f} degrees"
        raise CaseError(path, problem, "correct the tilt first (dcm2niix and 3D Slicer do)")
    check_steps(path, points @ normal, [names[index] for index in order])
    affine = np.eye(4)
    affine[:3, 0] = row * float(spacing[1])
    affine[:3, 1] = column * float(spacing[0])
    affine[:3, 2] = way / (len(points) - 1)
    affine[:3, 3] = points[0]
    return order, lps_to_ras(affine)


def series_stack(folder: Path, slices: Sequence[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Slices of one series in order, each once, and the affine of their stack.

    Returns:
        the slices in the direction of the normal of the first; (4, 4), indices (column, row, slice) to RAS mm.

    Raises:
        CaseError: slices that make no even, complete, right-angled volume.
    """
    check_series(folder, slices)
    slices = without_copies(slices)
    header = slices[0].header
    points = np.array([np.asarray(item.header.ImagePositionPatient, float) for item in slices])
    names = [item.path.name for item in slices]
    order, affine = stack_planes(folder, header.ImageOrientationPatient, header.PixelSpacing, points, names)
    return [slices[index] for index in order], affine


def read_stack(folder: Path, slices: Sequence[Slice]) -> np.ndarray:
    """Values (X, Y, Z) of slices in order, with the modality transform of each applied (HU for CT).

    Raises:
        CaseError: naming the slice that is cut off or cannot be decoded.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(item.path) for item in slices])
    try:
        return sitk.GetArrayFromImage(reader.Execute()).T
    except RuntimeError as error:
        for item in slices:
            try:
                sitk.ReadImage(str(item.path))
            except RuntimeError:
                raise CaseError(item.path, "is cut off or has pixels that cannot be decoded", DAMAGED) from error
        raise CaseError(folder, "has slices that cannot be decoded together", DAMAGED) from error
