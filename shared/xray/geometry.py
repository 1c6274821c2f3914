"""X-ray geometry from and to DICOM attributes.

Detector: DistanceSourceToDetector, ImagerPixelSpacing (row distance first). The principal point is taken as the
detector's centre, as DICOM has no attribute for it in these objects.

Pose of a C-arm (PS3.3 C.8.7.5): PositionerPrimaryAngle is the detector's longitude about the patient (0 in front of the
chest, +90 degrees on the patient's left), PositionerSecondaryAngle its latitude (positive towards the head), and
DistanceSourceToPatient the distance from the source to the isocentre. The image is shown as seen from the detector
towards the source, so the camera is mirrored: the view "PA" of `pose` turned by both angles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydicom.dataset import Dataset
from torch import Tensor

from ..drr.pose import euler_to_pose
from ..io.errors import CaseError
from .header import SDD_MM, SOD_MM, Header, option_number, option_spacing

PRIMARY_DEG, SECONDARY_DEG = (-180.0, 180.0), (-90.0, 90.0)


def pose_from_header(header: Header, isocenter: Tensor | None = None) -> Tensor | None:
    """Camera pose (1, 4, 4) float64 [RAS mm] of a C-arm, None where an attribute is missing or cannot be right.

    Args:
        header: of a radiograph.
        isocenter: world position (3,) of the C-arm's isocentre; the origin by default. DICOM does not relate it to a
            CT, so this is a start for a registration, not a result.
    """
    primary = header.numbers("PositionerPrimaryAngle", 1, PRIMARY_DEG, "angle in degrees")
    secondary = header.numbers("PositionerSecondaryAngle", 1, SECONDARY_DEG, "angle in degrees")
    distance = header.sod()
    if primary is None or secondary is None or distance is None:
        return None
    angles = torch.tensor([[math.radians(primary[0]), math.radians(secondary[0]), 0.0]], dtype=torch.float64)
    translation = torch.tensor([[0.0, -distance, 0.0]], dtype=torch.float64)
    return euler_to_pose(angles, translation, "PA", isocenter)


def decimal_string(value: float) -> str:
    """A number in the form of a DICOM decimal string, at most 16 characters."""
    return f"{value:.10g}"[:16]


def write_geometry(
    data: Dataset,
    sdd: float | None = None,
    sod: float | None = None,
    pixel_spacing: float | Sequence[float] | None = None,
    primary_angle: float | None = None,
    secondary_angle: float | None = None,
) -> None:
    """Set the attributes of the geometry in a header; what is None stays as it is.

    Args:
        data: header, changed in place.
        sdd: distance from source to detector in mm (0018,1110).
        sod: distance from source to patient in mm (0018,1111). With the SDD it gives the magnification (0018,1114).
        pixel_spacing: distance of rows and of columns on the detector in mm, or one number for both (0018,1164).
        primary_angle: of a C-arm, degrees, positive towards the patient's left (LAO) (0018,1510).
        secondary_angle: of a C-arm, degrees, positive towards the head (0018,1511).

    Raises:
        CaseError: when a value is out of its limits or they contradict each other.
    """
    if sdd is not None:
        data.DistanceSourceToDetector = decimal_string(option_number("sdd", sdd, SDD_MM))
    if sod is not None:
        data.DistanceSourceToPatient = decimal_string(option_number("sod", sod, SOD_MM))
    if pixel_spacing is not None:
        columns, rows = option_spacing("pixel_spacing", pixel_spacing)
        data.ImagerPixelSpacing = [decimal_string(rows), decimal_string(columns)]
    for keyword, name, angle, limits in (
        ("PositionerPrimaryAngle", "primary_angle", primary_angle, PRIMARY_DEG),
        ("PositionerSecondaryAngle", "secondary_angle", secondary_angle, SECONDARY_DEG),
    ):
        if angle is not None:
            setattr(data, keyword, decimal_string(option_number(name, angle, limits, "degrees")))
    if sdd is None and sod is None:
        return
    header = Header(data)
    far, near = header.sdd(), header.sod()
    if "DistanceSourceToPatient" in header.problems:
        advice = "the patient lies between source and detector: give a smaller one"
        raise CaseError("--sod", header.problems["DistanceSourceToPatient"], advice)
    if far is not None and near is not None:
        data.EstimatedRadiographicMagnificationFactor = decimal_string(far / near)
