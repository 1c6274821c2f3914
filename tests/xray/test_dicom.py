"""X-ray geometry from and to DICOM tags."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from shared.drr import Detector, euler_to_pose, project_points
from shared.io.dicom import read_header
from shared.io.errors import CaseError
from shared.xray.dicom import detector_from_dicom, detector_spacing, dicom_tags, pose_from_dicom, write_geometry

F64 = torch.float64
DETECTOR = Detector(300, 400, (0.148, 0.152), 1197.3)


def tagged(**tags: object) -> Dataset:
    data = Dataset()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return data


def c_arm(primary: float, secondary: float, distance: float, isocenter: torch.Tensor | None = None) -> torch.Tensor:
    angles = torch.tensor([[primary, secondary, 0.0]], dtype=F64).deg2rad()
    return euler_to_pose(angles, torch.tensor([[0.0, -distance, 0.0]], dtype=F64), "PA", isocenter)


def test_geometry_survives_a_file(tmp_path: Path) -> None:
    isocenter = torch.tensor([10.0, -20.0, 30.0], dtype=F64)
    pose = c_arm(27.123456789, -11.5, 801.25, isocenter)
    data = tagged(PatientName="A^B", InstitutionName="Hospital", Rows=300, Columns=400)
    write_geometry(data, DETECTOR, pose, isocenter)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(tmp_path / "x.dcm", data, implicit_vr=False, little_endian=True)

    again = read_header(tmp_path / "x.dcm")
    assert detector_from_dicom("x.dcm", again) == DETECTOR
    found = pose_from_dicom(again, isocenter)
    assert found is not None
    assert torch.allclose(found, pose, atol=1e-6)
    assert (again.PatientName, again.InstitutionName) == ("A^B", "Hospital")


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
    data = tagged(PositionerPrimaryAngle=primary, PositionerSecondaryAngle=secondary, DistanceSourceToPatient=700)
    pose = pose_from_dicom(data)
    assert pose is not None
    direction = torch.tensor(towards, dtype=F64)
    assert torch.allclose(pose[0, :3, 2], direction, atol=1e-7)
    assert torch.allclose(pose[0, :3, 3], -700 * direction, atol=1e-4)


def test_image_is_seen_from_the_detector() -> None:
    pose = pose_from_dicom(tagged(PositionerPrimaryAngle=0, PositionerSecondaryAngle=0, DistanceSourceToPatient=700))
    assert pose is not None
    points = torch.tensor([[-50.0, 0.0, 0.0], [0.0, 0.0, 50.0]], dtype=F64)  # the patient's left, the head
    (left_u, left_v), (head_u, head_v) = project_points(points, pose, DETECTOR)[0].tolist()
    u0, v0 = DETECTOR.principal_point
    assert left_u > u0 + 100
    assert left_v == pytest.approx(v0)
    assert head_v < v0 - 100
    assert head_u == pytest.approx(u0)


def test_spacing_on_the_detector() -> None:
    assert detector_spacing(tagged(ImagerPixelSpacing=[0.2, 0.1], PixelSpacing=[0.15, 0.075])) == (0.1, 0.2)
    assert detector_spacing(tagged(PixelSpacing=[0.2, 0.1])) == (0.1, 0.2)
    calibrated = dict(PixelSpacing=[0.2, 0.1], PixelSpacingCalibrationType="GEOMETRY")
    assert detector_spacing(tagged(**calibrated)) is None
    distances = dict(DistanceSourceToDetector=1000, DistanceSourceToPatient=800)
    assert detector_spacing(tagged(**calibrated, **distances)) == pytest.approx((0.125, 0.25))
    assert detector_spacing(tagged()) is None


@pytest.mark.parametrize(
    ("missing", "problem"),
    [("DistanceSourceToDetector", "source-to-detector"), ("ImagerPixelSpacing", "pixel spacing"), ("Rows", "no image")],
)
def test_missing_tags_are_named(missing: str, problem: str) -> None:
    tags = {"Rows": 3, "Columns": 4, "ImagerPixelSpacing": [1, 1], "DistanceSourceToDetector": 1000}
    for value in (None, 0 if missing != "ImagerPixelSpacing" else None):
        data = tagged(**(tags | {missing: value}))
        with pytest.raises(CaseError, match=problem) as error:
            detector_from_dicom("chest.dcm", data)
        assert str(error.value).startswith("chest.dcm")


def test_pose_needs_all_its_tags() -> None:
    assert pose_from_dicom(tagged(PositionerPrimaryAngle=3, DistanceSourceToPatient=700)) is None
    assert pose_from_dicom(tagged(PositionerPrimaryAngle=3, PositionerSecondaryAngle="")) is None


def test_what_dicom_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="principal point"):
        dicom_tags(Detector(3, 3, (1.0, 1.0), 1000.0, (5.0, 0.0)))
    rolled = euler_to_pose(torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[0.0, -700.0, 0.0]]), "PA")
    with pytest.raises(ValueError, match="upright"):
        dicom_tags(DETECTOR, rolled)
    with pytest.raises(ValueError, match="Rows"):
        write_geometry(tagged(Rows=7, Columns=400), DETECTOR)


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA is not set")
def test_real_radiograph_without_distance_gets_one() -> None:
    path = Path(os.environ["BUNDLES_DATA"]) / "xray" / "chest_cr_no_sdd.dcm"
    data = read_header(path)
    with pytest.raises(CaseError, match="add_dicom_data"):
        detector_from_dicom(path, data)
    before = {element.tag for element in dcmread(path)}
    data.DistanceSourceToDetector = 1800
    detector = detector_from_dicom(path, data)
    assert (detector.rows, detector.columns) == (data.Rows, data.Columns)
    assert detector.sdd == 1800
    assert before <= {element.tag for element in data}
