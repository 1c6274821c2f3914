"""X-ray geometry from and to DICOM tags.

Detector: DistanceSourceToDetector, ImagerPixelSpacing (row distance first), Rows, Columns. The principal point is
taken as the detector's centre, as DICOM has no attribute for it in these objects.

Pose of a C-arm (PS3.3 C.8.7.5): PositionerPrimaryAngle is the detector's longitude about the patient (0 in front of the
chest, +90 degrees on the patient's left), PositionerSecondaryAngle its latitude (positive towards the head), and
DistanceSourceToPatient the distance from the source to the isocentre. The image is shown as seen from the detector
towards the source, so the camera is mirrored: the view "PA" of `pose` turned by both angles.
"""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat
from torch import Tensor

from ..drr.geometry import Detector, as_batch
from ..drr.pose import euler_to_pose, pose_to_euler
from ..io.errors import CaseError

SDD_ADVICE = "add the source-to-detector distance with the tool add_dicom_data (--sdd MM)"
SPACING_ADVICE = "give the pixel size on the detector, in mm"


def _number(data: Dataset, keyword: str) -> float | None:
    """Value of a decimal tag, None where it is missing or empty."""
    value = data.get(keyword)
    return None if value is None or value == "" else float(value)


def detector_spacing(data: Dataset) -> tuple[float, float] | None:
    """Distance between columns and between rows on the detector [mm]; None where the tags do not tell.

    ImagerPixelSpacing is that distance. PixelSpacing is, unless it was calibrated to the patient (it has a
    PixelSpacingCalibrationType, or differs from ImagerPixelSpacing); then it is brought to the detector by the
    magnification, where both distances are given.
    """
    imager = data.get("ImagerPixelSpacing")
    if imager:
        return float(imager[1]), float(imager[0])
    spacing = data.get("PixelSpacing")
    if not spacing:
        return None
    scale = 1.0
    if data.get("PixelSpacingCalibrationType"):
        sdd, patient = _number(data, "DistanceSourceToDetector"), _number(data, "DistanceSourceToPatient")
        if not sdd or not patient:
            return None
        scale = sdd / patient
    return float(spacing[1]) * scale, float(spacing[0]) * scale


def detector_from_dicom(path: str | os.PathLike, data: Dataset) -> Detector:
    """Detector of an X-ray.

    Args:
        path: the file, for the message.
        data: its header, as `shared.io.dicom.read_header` reads it.

    Raises:
        CaseError: where size, source-to-detector distance or pixel spacing is missing or not positive.
    """
    rows, columns = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise CaseError(path, "holds no image (no Rows and Columns)", "give the X-ray itself")
    sdd = _number(data, "DistanceSourceToDetector")
    if sdd is None or not sdd > 0:
        raise CaseError(path, "has no source-to-detector distance (DistanceSourceToDetector)", SDD_ADVICE)
    spacing = detector_spacing(data)
    if spacing is None or min(spacing) <= 0:
        raise CaseError(path, "has no pixel spacing on the detector (ImagerPixelSpacing)", SPACING_ADVICE)
    return Detector(rows, columns, spacing, sdd)


def pose_from_dicom(data: Dataset, isocenter: Tensor | None = None) -> Tensor | None:
    """Camera pose (1, 4, 4) float64 [RAS mm] of a C-arm, None where a tag is missing.

    Args:
        data: header.
        isocenter: world position (3,) of the C-arm's isocentre; the origin by default. DICOM does not relate it to a
            CT, so this is a start for a registration, not a result.
    """
    names = ("PositionerPrimaryAngle", "PositionerSecondaryAngle", "DistanceSourceToPatient")
    primary, secondary, distance = (_number(data, name) for name in names)
    if primary is None or secondary is None or distance is None:
        return None
    angles = torch.tensor([[math.radians(primary), math.radians(secondary), 0.0]], dtype=torch.float64)
    translation = torch.tensor([[0.0, -distance, 0.0]], dtype=torch.float64)
    return euler_to_pose(angles, translation, "PA", isocenter)


def dicom_tags(
    detector: Detector, camera_to_world: Tensor | None = None, isocenter: Tensor | None = None
) -> dict[str, Any]:
    """Values by DICOM keyword that describe a detector and, where given, the pose of a C-arm.

    Args:
        detector: the detector.
        camera_to_world: one camera pose that looks at the isocentre, without rotation about its viewing direction,
            mirrored as DICOM shows it; anything else has no place in these tags.
        isocenter: world position (3,) of the isocentre.

    Raises:
        ValueError: where the principal point is not the detector's centre, or the pose cannot be expressed.
    """
    if max(abs(offset) for offset in detector.offset_mm) > 1e-3:
        raise ValueError("DICOM cannot express a principal point off the detector's centre")
    values: dict[str, Any] = {
        "Rows": detector.rows,
        "Columns": detector.columns,
        "ImagerPixelSpacing": [_decimal(detector.pixel_mm[1]), _decimal(detector.pixel_mm[0])],
        "DistanceSourceToDetector": _decimal(detector.sdd),
    }
    if camera_to_world is None:
        return values
    angles, translation = pose_to_euler(as_batch(camera_to_world).double(), "PA", isocenter)
    (primary, secondary, roll), (right, depth, up) = angles[0].tolist(), translation[0].tolist()
    if abs(roll) > 1e-6 or max(abs(right), abs(up)) > 1e-3 or depth >= 0:
        raise ValueError("DICOM cannot express a pose that does not look upright at the isocentre")
    return values | {
        "DistanceSourceToPatient": _decimal(-depth),
        "PositionerPrimaryAngle": _decimal(math.degrees(primary)),
        "PositionerSecondaryAngle": _decimal(math.degrees(secondary)),
    }


def _decimal(value: float) -> DSfloat:
    """Decimal string of at most 16 characters, as DICOM demands."""
    return DSfloat(value, auto_format=True)


def write_geometry(
    data: Dataset, detector: Detector, camera_to_world: Tensor | None = None, isocenter: Tensor | None = None
) -> None:
    """Puts `dicom_tags` into a data set, in place; all other tags stay.

    Raises:
        ValueError: as `dicom_tags`, or where the data set's image has another size.
    """
    values = dicom_tags(detector, camera_to_world, isocenter)
    for keyword in ("Rows", "Columns"):
        if data.get(keyword) not in (None, values[keyword]):
            raise ValueError(f"{keyword} of the image is {data.get(keyword)}, of the detector {values[keyword]}")
    for keyword, value in values.items():
        setattr(data, keyword, value)
