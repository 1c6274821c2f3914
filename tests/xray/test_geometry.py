"""X-ray geometry from and to DICOM attributes."""

from __future__ import annotations

import math

import pytest
import torch
from pydicom import Dataset

from shared.drr import Detector, project_points
from shared.io.errors import CaseError
from shared.xray.geometry import pose_from_header, write_geometry
from shared.xray.header import Header

F64 = torch.float64


def header(**tags: object) -> Header:
    data = Dataset()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return Header(data)


@pytest.mark.parametrize(
    ("primary", "secondary", "towards"),
    [
        (0, 0, (0, 1, 0)),  # the detector in front of the chest
        (90, 0, (-1, 0, 0)),  # left anterior oblique: on the patient's left, which is -x in RAS
        (-90, 0, (1, 0, 0)),
        (0, 90, (0, 0, 1)),  # cranial
        (0, -30, (0, math.sqrt(0.75), -0.5)),
        (45, 30, (-math.sqrt(0.375), math.sqrt(0.375), 0.5)),  # longitude and latitude
    ],
)
def test_positioner_angles_place_the_detector(primary: float, secondary: float, towards: tuple[float, ...]) -> None:
    found = header()
    write_geometry(found.data, sod=700, primary_angle=primary, secondary_angle=secondary)
    pose = pose_from_header(found)
    assert pose is not None
    direction = torch.tensor(towards, dtype=F64)
    assert torch.allclose(pose[0, :3, 2], direction, atol=1e-7)
    assert torch.allclose(pose[0, :3, 3], -700 * direction, atol=1e-4)


def test_image_is_seen_from_the_detector() -> None:
    detector = Detector(300, 400, (0.148, 0.152), 1197.3)
    pose = pose_from_header(header(PositionerPrimaryAngle=0, PositionerSecondaryAngle=0, DistanceSourceToPatient=700))
    assert pose is not None
    points = torch.tensor([[-50.0, 0.0, 0.0], [0.0, 0.0, 50.0]], dtype=F64)  # the patient's left, the head
    (left_u, left_v), (head_u, head_v) = project_points(points, pose, detector)[0].tolist()
    u0, v0 = detector.principal_point
    assert left_u > u0 + 100
    assert left_v == pytest.approx(v0)
    assert head_v < v0 - 100
    assert head_u == pytest.approx(u0)


def test_pose_needs_all_its_attributes() -> None:
    assert pose_from_header(header(PositionerPrimaryAngle=3, DistanceSourceToPatient=700)) is None
    assert pose_from_header(header(PositionerPrimaryAngle=3, PositionerSecondaryAngle="")) is None
    turned = header(PositionerPrimaryAngle=3, PositionerSecondaryAngle=900, DistanceSourceToPatient=700)
    assert pose_from_header(turned) is None and "PositionerSecondaryAngle is 900" in turned.warnings[0]


def test_what_is_written_is_read_again_and_what_cannot_be_is_refused() -> None:
    found = header(PatientName="A^B")
    write_geometry(found.data, sdd=1197.3, sod=800, pixel_spacing=[0.152, 0.148])
    assert (found.sdd(), found.sod(), found.spacing("ImagerPixelSpacing")) == (1197.3, 800, (0.148, 0.152))
    assert found.magnification() == (pytest.approx(1197.3 / 800), "EstimatedRadiographicMagnificationFactor")
    assert found.data.PatientName == "A^B" and found.warnings == []
    for options, says in (
        ({"sod": 1300}, "--sod: .*1300 mm with the detector at 1197.3 mm"),
        ({"sdd": "far"}, "--sdd: is far"),
        ({"pixel_spacing": 0}, "--pixel_spacing: is 0"),
        ({"secondary_angle": 100}, "--secondary_angle: is 100"),
    ):
        with pytest.raises(CaseError, match=says):
            write_geometry(found.data, **options)
