"""Reading one case of head and neck: CT, MR, and the reference on the grid of the CT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .organs import NAMES, NUMBERS, OPENKBP_LABELS, OPENKBP_TO_HAN, organ_numbers, relabel
from .shared.io.errors import CaseError, one_line
from .shared.io.itk_images import index_matrix, read_image, same_grid

AIR_BELOW_HU = -200.0  # some voxel of every CT of a head is darker
GRID_TOLERANCE = 0.1  # voxels by which a segmentation may be off the grid of its CT
LEAST_OVERLAP = 0.02  # of an organ, from which on an overlap with another is worth a warning


@dataclass
class HanCase:
    """One patient.

    Attributes:
        case: name.
        ct: HU.
        mr: T1 in its own frame, None where there is none.
        labels: uint8 on the grid of the CT, numbers of `han_organs`; None without a reference.
        valid: numbers of the organs that the reference shows. A voxel outside of them says nothing about the others.
        warnings: for the user.
    """

    case: str
    ct: sitk.Image
    mr: sitk.Image | None = None
    labels: sitk.Image | None = None
    valid: tuple[int, ...] = ()
    warnings: list[str] = field(default_factory=list)


def check_hu(path: str, darkest: float) -> None:
    """Refuse a CT without air by the value of its darkest voxel.

    Raises:
        CaseError: where it is not as dark as air in HU.
    """
    if darkest > AIR_BELOW_HU:
        raise CaseError(path, f"is no CT in HU, its darkest voxel is {darkest:g}", "give the CT, rescaled to HU")


def read_ct(path: str) -> sitk.Image:
    """A CT in HU.

    Raises:
        CaseError: where it cannot be read, or has no air as dark as in HU.
    """
    ct = read_image(path)
    check_hu(path, float(sitk.GetArrayViewFromImage(ct).min()))
    return ct


def read_segment(path: str) -> tuple[sitk.Image, np.ndarray]:
    """A file with one segment, such as 3D Slicer writes.

    Returns:
        the file's grid; bool (Z, Y, X) on it.

    Raises:
        CaseError: where it cannot be read, or holds several segments.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    advice = "export the organ again, one segment per file"
    try:
        image = sitk.ReadImage(path)
    except RuntimeError as error:
        reason = one_line(str(error).split("ERROR:")[-1])[-120:]
        raise CaseError(path, f"is no whole image file ({reason})", advice) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() > 1 or image.HasMetaDataKey("Segment1_ID"):
        raise CaseError(path, "holds more than one segment", advice)
    array = sitk.GetArrayViewFromImage(image)
    if image.HasMetaDataKey("Segment0_LabelValue"):
        return image, array == int(image.GetMetaData("Segment0_LabelValue"))
    return image, array != 0


def segment_offset(path: str, segment: sitk.Image, ct: sitk.Image) -> np.ndarray:
    """Voxel (3,) of the CT (x, y, z) at which the first voxel of a segmentation lies; may be outside.

    Slicer's extent fields are redundant: the origin of the file says where it lies.

    Raises:
        CaseError: when the segmentation has another spacing, direction, or lies between the voxels of the CT.
    """
    step = np.linalg.inv(index_matrix(ct)) @ index_matrix(segment)
    far = step @ np.array([*(n - 1 for n in segment.GetSize()), 1.0])
    offset = np.round(step[:3, 3])
    expected = offset + np.array(segment.GetSize()) - 1
    if max(np.abs(step[:3, 3] - offset).max(), np.abs(far[:3] - expected).max()) > GRID_TOLERANCE:
        raise CaseError(path, "does not lie on the grid of its CT", "export it with the CT as reference geometry")
    return offset.astype(int)


def place_segment(path: str, ct: sitk.Image) -> np.ndarray | None:
    """A segment on the grid of the CT, bool (Z, Y, X); None where the file holds no voxel of it.

    Raises:
        CaseError: where it cannot be read, does not fit to the CT, or reaches beyond it.
    """
    segment, mask = read_segment(path)
    if not mask.any():
        return None  # Slicer saves an empty segment as a single voxel of arbitrary geometry
    offset = segment_offset(path, segment, ct)[::-1]
    index = np.argwhere(mask)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    shape = sitk.GetArrayViewFromImage(ct).shape
    if (low + offset < 0).any() or (high + offset > shape).any():
        raise CaseError(path, "reaches beyond its CT", "check that it belongs to this patient")
    placed = np.zeros(shape, dtype=bool)
    target = tuple(slice(int(a), int(b)) for a, b in zip(low + offset, high + offset, strict=True))
    placed[target] = mask[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    return placed


def read_organ_files(paths: Mapping[str, str], case: HanCase) -> None:
    """Fill the reference of a case from one file per organ."""
    labels = np.zeros(sitk.GetArrayViewFromImage(case.ct).shape, dtype=np.uint8)
    valid = []
    for name, path in sorted(paths.items(), key=lambda item: NUMBERS[item[0]]):
        placed = place_segment(path, case.ct)
        if placed is None:
            case.warnings.append(f"{name} is empty in its file and counts as not contoured")
            continue
        taken = float((labels[placed] > 0).mean())
        if taken > LEAST_OVERLAP:
            case.warnings.append(f"{name} overlaps other organs by {taken:.0%} and gets these voxels")
        labels[placed] = NUMBERS[name]
        valid.append(name)
    set_labels(case, labels, organ_numbers(valid))


def set_labels(case: HanCase, labels: np.ndarray, valid: tuple[int, ...]) -> None:
    """Give a case its reference (Z, Y, X) on the grid of the CT."""
    case.labels = sitk.GetImageFromArray(labels)
    case.labels.CopyInformation(case.ct)
    case.valid = valid


def read_label_map(path: str, ct: sitk.Image, largest: int, names: str) -> np.ndarray:
    """A label map on the grid of the CT, uint8 (Z, Y, X).

    Raises:
        CaseError: another grid, values that are no labels.
    """
    image = read_image(path, allow_constant=True)
    if not same_grid(image, ct):
        raise CaseError(path, "does not lie on the grid of its CT", "resample it to the CT with nearest neighbours")
    array = sitk.GetArrayFromImage(image)
    wrong = (array < 0) | (array > largest) | (array != np.round(array))
    if wrong.any():
        raise CaseError(path, f"has the value {array[wrong][0]:g}, labels are 0 to {largest}", f"number it as {names}")
    return array.astype(np.uint8)


def contoured_organs(path: str, labels: np.ndarray) -> tuple[int, ...]:
    """Organs that a label map shows: those that ``labels.json`` beside it names, otherwise those that occur.

    Raises:
        CaseError: a file that cannot be read, or names an unknown organ.
    """
    beside = Path(path).parent / "labels.json"
    if not beside.exists():
        return tuple(int(n) for n in np.unique(labels) if n)
    advice = 'write {"contoured": ["Brainstem", ...]} with names of HaN-Seg'
    try:
        return organ_numbers(json.loads(beside.read_text())["contoured"])
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise CaseError(beside, "is no list of contoured organs", advice) from error
    except KeyError as error:
        raise CaseError(beside, f"lacks or does not know {error}", advice) from error


def read_reference(item: Mapping[str, Any], case: HanCase) -> None:
    """Fill the reference of a case whose CT was read, from the files that an item of :func:`find_han_cases` names.

    Raises:
        CaseError: where a file cannot be read or does not fit to the CT.
    """
    if "organs" in item:
        read_organ_files(item["organs"], case)
    elif "labels" in item:
        labels = read_label_map(item["labels"], case.ct, len(NAMES), "HaN-Seg does")
        set_labels(case, labels, contoured_organs(item["labels"], labels))
    elif "openkbp" in item:
        labels = read_label_map(item["openkbp"], case.ct, len(OPENKBP_LABELS), "OpenKBP does, or call it labels.nii.gz")
        mapped = relabel(labels, OPENKBP_TO_HAN)
        set_labels(case, mapped, tuple(int(n) for n in np.unique(mapped) if n))


def read_han_case(item: Mapping[str, Any]) -> HanCase:
    """Read a case of :func:`find_han_cases`.

    Raises:
        CaseError: where a file cannot be read or does not fit to the others.
    """
    if "problem" in item:
        raise CaseError(*item["problem"])
    case = HanCase(item["case"], read_ct(item["ct"]))
    if "mr" in item:
        case.mr = read_image(item["mr"], allow_constant=True)  # the registration refuses an empty one
    read_reference(item, case)
    return case


def validity_mask(valid: tuple[int, ...]) -> np.ndarray:
    """(31,) float32 for losses and metrics: 1 where a channel is known, 0 where the organ was not contoured.

    The background counts as known only where every organ is: elsewhere it may hide one.
    """
    mask = np.zeros(len(NAMES) + 1, dtype=np.float32)
    mask[list(valid)] = 1.0
    mask[0] = float(len(valid) == len(NAMES))
    return mask
