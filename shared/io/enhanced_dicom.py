"""Volumes from one DICOM file of many frames (Enhanced CT, MR or PET)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from .dicom import read_header
from .dicom_series import stack_planes
from .errors import CaseError, one_line


def frame_groups(data: Dataset, sequence: str) -> list[Dataset | None]:
    """What a functional group says about each frame: its own item, or the one that all share, or None."""
    shared = first_item(data, "SharedFunctionalGroupsSequence")
    common = None if shared is None else first_item(shared, sequence)
    return [first_item(frame, sequence) or common for frame in data.PerFrameFunctionalGroupsSequence]


def first_item(data: Dataset, sequence: str) -> Dataset | None:
    items = data.get(sequence)
    return items[0] if items else None


def frame_values(path: Path, groups: list[Dataset | None], tag: str, what: str) -> list[np.ndarray]:
    """A tag of every frame as float64.

    Raises:
        CaseError: naming the first frame without it.
    """
    found = [None if group is None else group.get(tag) for group in groups]
    for number, value in enumerate(found, start=1):
        if value is None:
            raise CaseError(path, f"does not say the {what} of frame {number}", "export the series as single slices")
    return [np.asarray(value, dtype=float) for value in found]


def rescaled(data: Dataset, pixels: np.ndarray) -> np.ndarray:
    """Frames (N, rows, columns) with the modality transform of each: int16 where that keeps every value, or float32."""
    groups = frame_groups(data, "PixelValueTransformationSequence")
    slopes, intercepts = (
        np.array([float((data if group is None else group).get(tag, usual)) for group in groups])
        for tag, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if (slopes == 1).all() and (intercepts == np.round(intercepts)).all():
        values = pixels.astype(np.int32) + intercepts.astype(np.int32)[:, None, None]
        fits = np.iinfo(np.int16).min <= values.min() and values.max() <= np.iinfo(np.int16).max
        return values.astype(np.int16) if fits else values
    return (pixels * slopes[:, None, None] + intercepts[:, None, None]).astype(np.float32)


def read_enhanced(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A volume of one file, its frames in the order of their positions, each with its own rescale slope.

    Returns:
        array (X, Y, Z); affine (4, 4) to RAS mm.

    Raises:
        CaseError: frames that say no position, differ in direction, or make no even, complete, right-angled volume;
            pixels that cannot be decoded.
    """
    data: Any = read_header(path)
    frames = int(data.get("NumberOfFrames") or 1)
    if len(data.get("PerFrameFunctionalGroupsSequence") or []) != frames:
        problem = f"holds {frames} frames without a position of each"
        raise CaseError(path, problem, "export the series as single slices")
    points = frame_values(path, frame_groups(data, "PlanePositionSequence"), "ImagePositionPatient", "position")
    turns = frame_values(path, frame_groups(data, "PlaneOrientationSequence"), "ImageOrientationPatient", "direction")
    sizes = frame_values(path, frame_groups(data, "PixelMeasuresSequence"), "PixelSpacing", "pixel spacing")
    if np.ptp(turns, axis=0).max() > 1e-3 or np.ptp(sizes, axis=0).max() > 1e-3:
        raise CaseError(path, "holds frames that differ in direction or pixel spacing", "give one volume")
    names = [f"frame {number}" for number in range(1, frames + 1)]
    order, affine = stack_planes(path, turns[0].tolist(), sizes[0].tolist(), np.array(points), names)
    try:
        pixels = data.pixel_array
    except Exception as error:  # each decoder raises errors of its own
        problem = f"is cut off or has pixels that cannot be decoded ({one_line(str(error))[:120]})"
        raise CaseError(path, problem, "export it uncompressed") from error
    return np.ascontiguousarray(rescaled(data, pixels)[order].transpose(2, 1, 0)), affine
