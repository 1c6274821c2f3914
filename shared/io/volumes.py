"""CT and MR volumes from NIfTI, NRRD, MHA and DICOM series as one kind of image, in any orientation."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monai.data import ImageReader
from pydicom.dataset import Dataset

from .cases import is_dicom, single_path, visible
from .dicom import read_header
from .errors import CaseError, one_line
from .image_files import DAMAGED, LPS_TO_RAS, check_affine, check_finite, read_grid, read_itk

TAGS = [
    "SeriesInstanceUID",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
SLICE_TOLERANCE = 0.05  # deviation from the usual distance of slices, as a fraction of it
TILT_DEG = 0.5


@dataclass
class Slice:
    """One file of a series and its header."""

    path: Path
    header: Dataset


def read_slices(folder: Path) -> list[Slice]:
    """Headers of the image slices in a folder; scouts and DICOM objects without pixels are left out.

    Raises:
        CaseError: when there is none.
    """
    slices = []
    for path in visible(folder):
        if not path.is_file() or path.name == "DICOMDIR" or not is_dicom(path):
            continue
        header = read_header(path, TAGS, stop_before_pixels=True)
        if header.get("Rows") and "LOCALIZER" not in (header.get("ImageType") or []):
            slices.append(Slice(path, header))
    if not slices:
        raise CaseError(folder, "holds no image slices", "give the folder of one DICOM series")
    return slices


def check_series(folder: Path, slices: Sequence[Slice]) -> None:
    """Refuse slices that do not belong into one volume.

    Raises:
        CaseError: several series, missing positions, or slices of different size or direction.
    """
    series = Counter(item.header.get("SeriesInstanceUID") for item in slices)
    if len(series) > 1:
        sizes = ", ".join(f"{count} slices" for _, count in series.most_common(4))
        raise CaseError(folder, f"holds {len(series)} series ({sizes})", "put each series into a folder of its own")
    for item in slices:
        if any(not item.header.get(tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
            raise CaseError(item.path, "has no position in the patient", "export the series again from the archive")
    first = slices[0].header
    for item in slices[1:]:
        same_size = (item.header.Rows, item.header.Columns) == (first.Rows, first.Columns)
        same_grid = all(
            np.allclose(np.asarray(item.header[tag].value, float), np.asarray(first[tag].value, float), atol=1e-3)
            for tag in ("ImageOrientationPatient", "PixelSpacing")
        )
        if not (same_size and same_grid):
            problem = f"differs from {slices[0].path.name} in size, pixel spacing or direction"
            raise CaseError(item.path, problem, "give a series of slices of one kind")


def series_affine(folder: Path, slices: Sequence[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Slices in order, and the affine of their stack.

    Returns:
        the slices in the direction of the normal of the first; (4, 4), indices (column, row, slice) to RAS mm.

    Raises:
        CaseError: gantry tilt, slices that are missing, doubled or unevenly spaced.
    """
    header = slices[0].header
    row, column = np.reshape(np.asarray(header.ImageOrientationPatient, float), (2, 3))
    normal = np.cross(row, column)
    points = np.array([np.asarray(item.header.ImagePositionPatient, float) for item in slices])
    order = np.argsort(points @ normal, kind="stable")
    slices, points = [slices[index] for index in order], points[order]
    names = [item.path.name for item in slices]
    if len(slices) < 2:
        raise CaseError(folder, "holds a single slice", "give the folder of the whole series")

    way = points[-1] - points[0]
    along = float(way @ normal)
    tilt = np.degrees(np.arctan2(np.linalg.norm(way - along * normal), along))
    if along > 0 and tilt > TILT_DEG:
        problem = f"was scanned with a gantry tilt of {tilt:.1f} degrees"
        raise CaseError(folder, problem, "correct the tilt first (dcm2niix and 3D Slicer do)")
    steps = np.diff(points @ normal)
    usual = float(np.median(steps))
    advice = "export the complete series again, or resample it to even slices"
    if (steps < 0.01).any():
        where = int(steps.argmin())
        problem = f"holds two slices at one place ({names[where]} and {names[where + 1]})"
        raise CaseError(folder, problem, "put each phase or repetition into a folder of its own")
    if np.abs(steps - usual).max() > SLICE_TOLERANCE * usual:
        where = int(np.abs(steps - usual).argmax())
        gap, pair = float(steps[where]), f"{names[where]} and {names[where + 1]}"
        if round(gap / usual) >= 2 and abs(gap / usual - round(gap / usual)) < 0.1:
            raise CaseError(folder, f"lacks {round(gap / usual) - 1} slices between {pair}", advice)
        problem = f"has uneven slices, {gap:.2f} mm between {pair} where {usual:.2f} mm are usual"
        raise CaseError(folder, problem, advice)

    row_distance, column_distance = np.asarray(header.PixelSpacing, float)
    affine = np.eye(4)
    affine[:3, 0] = row * column_distance
    affine[:3, 1] = column * row_distance
    affine[:3, 2] = way / (len(slices) - 1)
    affine[:3, 3] = points[0]
    return slices, LPS_TO_RAS @ affine


def read_series(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A DICOM series, the only one in its folder.

    Returns:
        array (X, Y, Z) with the modality transform applied (HU for CT); affine (4, 4) to RAS mm.

    Raises:
        CaseError: when the slices make no even, complete, right-angled volume, or cannot be decoded.
    """
    slices = read_slices(folder)
    if len(slices) == 1 and int(slices[0].header.get("NumberOfFrames") or 1) > 1:
        return read_itk(slices[0].path)
    check_series(folder, slices)
    slices, affine = series_affine(folder, slices)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(item.path) for item in slices])
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        reason = one_line(str(error))[-120:]
        raise CaseError(folder, f"has slices that cannot be decoded ({reason})", DAMAGED) from error
    return array.T, affine


class VolumeReader(ImageReader):
    """MONAI reader of one volume: ``LoadImaged("image", reader=VolumeReader())``.

    A path is a NIfTI, NRRD or MHA file, a multi-frame DICOM file, or the folder of a DICOM series. The array is
    (X, Y, Z) with the axes as stored; ``affine`` and ``original_affine`` (4, 4) lead to RAS mm.

    Args:
        allow_constant: accept a volume of a single value, such as an empty label map.

    Raises:
        CaseError: from :meth:`get_data`, for slices, time series, colours, NaN, tilted or uneven stacks of slices.
    """

    def __init__(self, allow_constant: bool = False) -> None:
        super().__init__()
        self.allow_constant = allow_constant

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> Path:
        """The path itself: MONAI drops errors of this method and tries its other readers."""
        return single_path(data)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        array, affine = read_series(img) if img.is_dir() else read_grid(img)
        if array.ndim != 3:
            kind = "a single slice" if array.ndim == 2 else "a time series or colours"
            shape = " x ".join(map(str, array.shape))
            raise CaseError(img, f"is no volume but {kind} ({shape})", "give one volume")
        check_affine(img, affine)
        check_finite(img, array)
        if not self.allow_constant and array.min() == array.max():
            raise CaseError(img, f"is blank, all its voxels are {array.flat[0]:g}", "give a whole volume")
        return array, {
            "affine": affine,
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(array.shape),
            "original_channel_dim": float("nan"),
            "space": "RAS",
        }
