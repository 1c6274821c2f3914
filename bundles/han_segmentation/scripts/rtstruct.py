"""A label map as a DICOM RT structure set of the CT series that it was made from.

Each organ gets closed planar contours on every slice. They run between the voxels of the organ and those outside, so
that a voxel belongs to the organ exactly where its centre lies inside. A hole is joined to the contour around it by a
channel of no width (DICOM PS3.3, C.8.8.6.3), because many readers fill every contour on its own. The names follow AAPM
TG-263; organs that were learned from phantoms alone bear its custom qualifier, ``Eye_AL^phantoms``, and say so in their
description.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from skimage.measure import find_contours

from .organs import PHANTOMS, Organ, OrganTable
from .shared.geometry.frames import lps_to_ras, transform_points
from .shared.io.cases import series_slices
from .shared.io.dicom import read_header
from .shared.io.dicom_series import series_stack

PATIENT_TAGS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY_TAGS = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")
SLICE_TAGS = [*PATIENT_TAGS, *STUDY_TAGS, "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"]
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"  # the class that PS3.3 C.8.8.5 names for the referenced study
DECIMALS = 3  # of a coordinate in mm


@dataclass(frozen=True)
class Series:
    """The CT series that contours refer to.

    Attributes:
        headers: of the slices, in the order of the last axis of the volume that was read from them.
        affine: (4, 4), indices (column, row, slice) to LPS mm.
    """

    headers: list[Dataset]
    affine: np.ndarray

    @classmethod
    def read(cls, folder: str | os.PathLike) -> Series:
        """Headers of a folder that was read as a volume before.

        Raises:
            CaseError: where nothing can be read.
        """
        slices, affine = series_stack(Path(folder), series_slices(folder))
        return cls([read_header(s.path, SLICE_TAGS, stop_before_pixels=True) for s in slices], lps_to_ras(affine))


def signed_area(contour: np.ndarray) -> float:
    """Area of a closed polygon (N, 2), negative for the other sense of rotation."""
    x, y = contour.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def contains(contour: np.ndarray, point: np.ndarray) -> bool:
    """Whether a polygon (N, 2) goes around a point (2,), by the even-odd rule."""
    x, y = contour.T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    crossed = (y > point[1]) != (y_next > point[1])
    at = x[crossed] + (point[1] - y[crossed]) / (y_next[crossed] - y[crossed]) * (x_next[crossed] - x[crossed])
    return bool((at > point[0]).sum() % 2)


def meets_a_center(start: np.ndarray, end: np.ndarray) -> bool:
    """Whether the way between two points (2,) in indices goes through the centre of a voxel."""
    for axis in (0, 1):
        low, high = sorted((start[axis], end[axis]))
        if high > low:
            steps = np.arange(np.ceil(low), np.floor(high) + 1)
            other = start[1 - axis] + (steps - start[axis]) / (end[axis] - start[axis]) * (end - start)[1 - axis]
            if (np.abs(other - np.round(other)) < 1e-6).any():
                return True
    return False


def join_hole(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One polygon (N + M + 2, 2) of an outer one (N, 2) and a hole (M, 2).

    They are joined where their corners are nearest, but not through the centre of a voxel: whether that is inside would
    be left to the rounding of the reader.
    """
    distances = np.linalg.norm(outer[:, None] - hole[None], axis=-1)
    i, j = np.unravel_index(int(distances.argmin()), distances.shape)
    for flat in np.argsort(distances, axis=None, kind="stable"):
        near, far = np.unravel_index(int(flat), distances.shape)
        if not meets_a_center(outer[near], hole[far]):
            i, j = near, far
            break
    around = np.roll(hole, -int(j), axis=0)
    return np.concatenate([outer[: i + 1], around, around[:1], outer[i:]])


def slice_contours(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons of a mask on one slice.

    Args:
        mask: bool (X, Y).

    Returns:
        corners (N, 2) in indices (x, y), half-way between the voxels inside and outside, the first one not repeated.
        The centre of a voxel lies inside of one of them exactly where the mask is true.
    """
    found = find_contours(np.pad(mask, 1).astype(np.float32), 0.5, fully_connected="low")
    polygons = [contour[:-1] - 1 for contour in found]
    areas = [signed_area(polygon) for polygon in polygons]
    # find_contours winds around high values in one sense and around low ones in the other
    largest = max(range(len(areas)), key=lambda n: abs(areas[n]), default=0)
    outer = [(p, abs(a)) for p, a in zip(polygons, areas, strict=True) if a * areas[largest] > 0]
    holes = [(p, abs(a)) for p, a in zip(polygons, areas, strict=True) if a * areas[largest] < 0]
    joined = [polygon for polygon, _ in outer]
    for hole, _ in holes:
        around = [n for n, (polygon, _) in enumerate(outer) if contains(polygon, hole[0])]
        smallest = min(around, key=lambda n: outer[n][1])
        joined[smallest] = join_hole(joined[smallest], hole)
    return joined


def contour_item(polygon: np.ndarray, index: int, series: Series) -> Dataset:
    """A contour (N, 2) in indices on a slice, as an item of the Contour Sequence."""
    indices = np.column_stack([polygon, np.full(len(polygon), float(index))])
    points = transform_points(series.affine, indices)
    item = Dataset()
    item.ContourImageSequence = Sequence([reference(series.headers[min(index, len(series.headers) - 1)])])
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.{DECIMALS}f}" for value in points.ravel()]
    return item


def reference(header: Dataset) -> Dataset:
    """A reference to the slice with a header."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item


def frame_of_reference(series: Series) -> Dataset:
    """The item of the Referenced Frame of Reference Sequence: study, series and slices."""
    first = series.headers[0]
    of_series = Dataset()
    of_series.SeriesInstanceUID = first.SeriesInstanceUID
    of_series.ContourImageSequence = Sequence([reference(header) for header in series.headers])
    of_study = Dataset()
    of_study.ReferencedSOPClassUID = STUDY_COMPONENT
    of_study.ReferencedSOPInstanceUID = known_uid(first, "StudyInstanceUID")
    of_study.RTReferencedSeriesSequence = Sequence([of_series])
    frame = Dataset()
    frame.FrameOfReferenceUID = known_uid(first, "FrameOfReferenceUID")
    frame.RTReferencedStudySequence = Sequence([of_study])
    return frame


def known_uid(header: Dataset, tag: str) -> str:
    """An identifier of a series; where its files lack it, one that is made from that of the series."""
    return str(header.get(tag) or generate_uid(entropy_srcs=[str(header.SeriesInstanceUID), tag]))


def roi_name(organ: Organ) -> str:
    """Name of an organ in a structure set; that of one learned from phantoms alone never comes without its mark."""
    return f"{organ.tg263}^{PHANTOMS}" if organ.learned_from == PHANTOMS else organ.tg263


def add_organ(data: Dataset, organ: Organ, mask: np.ndarray, series: Series) -> None:
    """Add an organ, bool (X, Y, Z) on the grid of the series, to the three sequences of a structure set."""
    number = organ.number
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = known_uid(series.headers[0], "FrameOfReferenceUID")
    roi.ROIName = roi_name(organ)
    if organ.learned_from == PHANTOMS:
        roi.ROIDescription = "learned from phantoms alone, not validated on patients"
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    data.StructureSetROISequence.append(roi)

    contours = Dataset()
    contours.ROIDisplayColor = list(organ.colour)
    contours.ReferencedROINumber = number
    contours.ContourSequence = Sequence(
        contour_item(polygon, int(index), series)
        for index in np.flatnonzero(mask.any(axis=(0, 1)))
        for polygon in slice_contours(mask[:, :, index])
    )
    data.ROIContourSequence.append(contours)

    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = "ORGAN"
    observation.ROIInterpreter = ""
    data.RTROIObservationsSequence.append(observation)


def structure_set(labels: np.ndarray, series: Series, table: OrganTable, label: str = "AUTO") -> FileDataset:
    """A structure set of all labels that occur.

    Args:
        labels: (X, Y, Z) on the grid of the series.
        series: that the labels were made from.
        table: of the organs that the labels mean.
        label: what viewers call the structure set; 16 characters are kept.

    Returns:
        the DICOM object. The same labels get the same identifiers.
    """
    first = series.headers[0]
    content = hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()
    seeds = [str(first.SeriesInstanceUID), content]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*seeds, "instance"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 192"
    for tag in (*PATIENT_TAGS, *STUDY_TAGS):
        setattr(data, tag, first.get(tag, ""))
    data.StudyInstanceUID = known_uid(first, "StudyInstanceUID")
    data.SOPClassUID, data.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[*seeds, "series"])
    data.Modality = "RTSTRUCT"
    data.SeriesDescription = "organs at risk, not reviewed"
    data.SeriesNumber, data.InstanceNumber = None, 1
    data.Manufacturer, data.OperatorsName = "", ""
    now = datetime.datetime.now()
    data.StructureSetLabel = label[:16]
    data.StructureSetDate, data.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.ApprovalStatus = "UNAPPROVED"
    data.ReferencedFrameOfReferenceSequence = Sequence([frame_of_reference(series)])
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(), Sequence()
    data.RTROIObservationsSequence = Sequence()
    for number in (int(n) for n in np.unique(labels) if n):
        add_organ(data, table.organ(number), labels == number, series)
    return data
