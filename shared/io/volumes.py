"""CT and MR volumes from NIfTI, NRRD, MHA and DICOM as one kind of image, in any orientation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader

from .cases import is_series, series_slices
from .dicom_series import read_stack, series_stack
from .enhanced_dicom import read_enhanced
from .errors import CaseError
from .file_names import is_dicom, single_path
from .image_files import check_affine, check_finite, read_grid, says_orientation
from .intake import INTAKE, facts_text

ENDS = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "I": (2, -1), "S": (2, 1)}


@dataclass
class Volume:
    """A volume as read.

    Attributes:
        array: (X, Y, Z) with the axes as stored, HU for a CT.
        affine: (4, 4), indices to RAS mm.
        modality: of a DICOM file, such as "CT"; empty where the format names none.
        oriented: whether the file says which way its axes run.
    """

    array: np.ndarray
    affine: np.ndarray
    modality: str = ""
    oriented: bool = True


def read_dicom_volume(path: Path) -> Volume:
    """A DICOM volume: the only series in a folder, one of several as ``find_cases`` names it, or a multi-frame file.

    Raises:
        CaseError: when the slices make no even, complete, right-angled volume, or cannot be decoded.
    """
    slices = series_slices(path)
    modality = str(slices[0].header.get("Modality") or "") if slices else ""
    if len(slices) == 1 and slices[0].frames > 1:
        return Volume(*read_enhanced(slices[0].path), modality)
    slices, affine = series_stack(path, slices)
    return Volume(read_stack(path, slices), affine, modality)


def read_volume(path: Path) -> Volume:
    """A volume of any format.

    Raises:
        CaseError: when it cannot be read.
    """
    if path.is_dir() or is_series(path) or is_dicom(path):
        return read_dicom_volume(path)
    array, affine = read_grid(path)
    return Volume(array, affine, oriented=says_orientation(path))


def assumed_affine(affine: np.ndarray, letters: str) -> np.ndarray:
    """(4, 4) to RAS mm of an image whose axes run towards the letters given, such as "LPS", with the voxels it has.

    Raises:
        CaseError: when they are no three directions of the patient.
    """
    ends = [ENDS.get(letter) for letter in letters.upper()]
    if len(ends) != 3 or None in ends or len({axis for axis, _ in ends if ends}) != 3:  # type: ignore[misc]
        advice = "give towards what the axes of the file run, such as RAS or LPS"
        raise CaseError("--assume_orientation", f"is {letters}, no three directions of a patient", advice)
    assumed = np.eye(4)
    assumed[:3, :3] = 0
    for column, (axis, sign) in enumerate(ends):  # type: ignore[misc]
        assumed[axis, column] = sign * np.linalg.norm(affine[:3, column])
    return assumed


class VolumeReader(ImageReader):
    """MONAI reader of one volume: ``LoadImaged("image", reader=VolumeReader())``.

    A path is a NIfTI, NRRD or MHA file, a multi-frame DICOM file, or the folder of a DICOM series. The array is
    (X, Y, Z) with the axes as stored; ``affine`` and ``original_affine`` (4, 4) lead to RAS mm. ``modality`` is that of
    a DICOM file; ``intake`` holds what was decided about the file (:mod:`shared.io.intake`).

    Args:
        allow_constant: accept a volume of a single value, such as an empty label map.
        assume_orientation: towards what the axes run of a file that does not say it, such as "RAS"; it is refused where
            None, because left and right could be exchanged.

    Raises:
        CaseError: from :meth:`get_data`, for slices, time series, colours, NaN, tilted or uneven stacks of slices.
    """

    def __init__(self, allow_constant: bool = False, assume_orientation: str | None = None) -> None:
        super().__init__()
        self.allow_constant, self.assume_orientation = allow_constant, assume_orientation

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> Path:
        """The path itself: MONAI drops errors of this method and tries its other readers."""
        return single_path(data)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        volume = read_volume(img)
        array, affine = volume.array, volume.affine
        if array.ndim != 3:
            kind = "a single slice" if array.ndim == 2 else "a time series or colours"
            shape = " x ".join(map(str, array.shape))
            raise CaseError(img, f"is no volume but {kind} ({shape})", "give one volume")
        check_affine(img, affine)
        check_finite(img, array)
        if not self.allow_constant and array.min() == array.max():
            raise CaseError(img, f"is blank, all its voxels are {array.flat[0]:g}", "give a whole volume")
        facts: dict[str, Any] = {"orientation": "header", "warnings": []}
        if not volume.oriented:
            if self.assume_orientation is None:
                problem = "does not say which way its axes run (left and right could be exchanged)"
                advice = "convert it again from DICOM, or give --assume_orientation RAS (or what it is)"
                raise CaseError(img, problem, advice)
            affine = assumed_affine(affine, self.assume_orientation)
            facts["orientation"] = "option"
            facts["warnings"] = [f"the file names no orientation, {self.assume_orientation} was assumed as asked"]
        return array, {
            "affine": affine,
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(array.shape),
            "original_channel_dim": float("nan"),
            "space": "RAS",
            "modality": volume.modality,
            INTAKE: facts_text(facts),
        }
