"""Reading one case of head and neck: CT, MR, and its contours on the grid of the CT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .organs import OrganTable, relabel
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
        labels: uint8 on the grid of the CT, numbers of the table of organs; None without a reference.
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


def read_organ_files(paths: Mapping[str, str], case: HanCase, table: OrganTable) -> None:
    """Fill the reference of a case from one file per organ."""
    labels = np.zeros(sitk.GetArrayViewFromImage(case.ct).shape, dtype=np.uint8)
    valid = []
    for name, path in sorted(paths.items(), key=lambda item: table.numbers[item[0]]):
        placed = place_segment(path, case.ct)
        if placed is None:
            case.warnings.append(f"{name} is empty in its file and counts as not contoured")
            continue
        taken = float((labels[placed] > 0).mean())
        if taken > LEAST_OVERLAP:
            case.warnings.append(f"{name} overlaps other organs by {taken:.0%} and gets these voxels")
        labels[placed] = table.numbers[name]
        valid.append(name)
    set_labels(case, labels, tuple(table.numbers[name] for name in valid))


def set_labels(case: HanCase, labels: np.ndarray, valid: tuple[int, ...]) -> None:
    """Give a case its reference (Z, Y, X) on the grid of the CT."""
    case.labels = sitk.GetImageFromArray(labels)
    case.labels.CopyInformation(case.ct)
    case.valid = valid


def read_label_map(path: str, ct: sitk.Image, largest: int) -> np.ndarray:
    """A label map on the grid of the CT, values 0 to ``largest``: uint8 (Z, Y, X).

    Raises:
        CaseError: another grid, values that are no labels.
    """
    image = read_image(path, allow_constant=True)
    if not same_grid(image, ct):
        raise CaseError(path, "does not lie on the grid of its CT", "resample it to the CT with nearest neighbours")
    array = sitk.GetArrayFromImage(image)
    wrong = (array < 0) | (array > largest) | (array != np.round(array))
    if wrong.any():
        problem = f"has the value {array[wrong][0]:g}, labels are 0 to {largest}"
        raise CaseError(path, problem, "number it as the table of organs does, or say the names in labels.json")
    return array.astype(np.uint8)


@dataclass(frozen=True)
class LabelNames:
    """What ``labels.json`` beside a label map says.

    Attributes:
        contoured: names of the structures that were looked for, found or not; None where nothing is said.
        labels: number in the file to name; None where the file has the numbers of the table.
    """

    contoured: tuple[str, ...] | None = None
    labels: Mapping[int, str] | None = None

    @classmethod
    def beside(cls, path: str) -> LabelNames:
        """Of the label map at a path.

        Raises:
            CaseError: for a file that cannot be read.
        """
        file = Path(path).parent / "labels.json"
        if not file.exists():
            return cls()
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            contoured, labels = content.get("contoured"), content.get("labels")
            if contoured is None and labels is None:
                raise KeyError("contoured")
            return cls(
                None if contoured is None else tuple(str(name) for name in contoured),
                None if labels is None else {int(number): str(name) for number, name in labels.items()},
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            advice = 'write {"contoured": ["Brainstem", ...]} with names of the table of organs'
            raise CaseError(file, f"is no list of contoured organs ({error})", advice) from error


def own_numbers(path: str, names: LabelNames, table: OrganTable) -> Mapping[int, int | None]:
    """Number in a label map → number of the table; a structure of no organ has None.

    Raises:
        CaseError: where no name in ``labels.json`` is that of an organ.
    """
    stem = Path(path).name.split(".")[0].lower()
    if stem in table.label_files:
        return table.label_files[stem]
    if names.labels is None:
        return {number: number for number in table.names}
    numbers = {number: table.numbers.get(name) for number, name in names.labels.items()}
    if not any(numbers.values()):
        problem = "names none of the organs of the table"
        raise CaseError(Path(path).parent / "labels.json", problem, f"known are {', '.join(table.numbers)}")
    return numbers


def read_labels(path: str, case: HanCase, table: OrganTable) -> None:
    """Fill the reference of a case from a label map.

    Contoured is what ``labels.json`` beside it names, otherwise what occurs. Names in "contoured" that are no organs of
    the table are an error where the map has the numbers of the table, and other structures where it has its own.
    """
    names = LabelNames.beside(path)
    numbers = own_numbers(path, names, table)
    labels = relabel(read_label_map(path, case.ct, max(numbers)), numbers)
    valid = tuple(int(n) for n in np.unique(labels) if n)
    if names.contoured is not None:
        known = [name for name in names.contoured if name in table.numbers or names.labels is None]
        valid = table.numbers_of(known, str(Path(path).parent / "labels.json"))
    set_labels(case, labels, valid)


def read_reference(item: Mapping[str, Any], case: HanCase, table: OrganTable) -> None:
    """Fill the reference of a case whose CT was read, from the files that an item of :func:`find_han_cases` names.

    Raises:
        CaseError: where a file cannot be read or does not fit to the CT.
    """
    if "organs" in item:
        read_organ_files(item["organs"], case, table)
    elif "labels" in item:
        read_labels(item["labels"], case, table)


def read_han_case(item: Mapping[str, Any], table: OrganTable) -> HanCase:
    """Read a case of :func:`find_han_cases`.

    Raises:
        CaseError: where a file cannot be read or does not fit to the others.
    """
    if "problem" in item:
        raise CaseError(*item["problem"])
    case = HanCase(item["case"], read_ct(item["ct"]))
    if "mr" in item:
        case.mr = read_image(item["mr"], allow_constant=True)  # the registration refuses an empty one
    read_reference(item, case, table)
    return case


def validity_mask(valid: Sequence[int], count: int) -> np.ndarray:
    """(count + 1,) float32 for losses and metrics: 1 where a channel is known, 0 where the organ was not contoured.

    The background counts as known only where every organ is: elsewhere it may hide one.
    """
    mask = np.zeros(count + 1, dtype=np.float32)
    mask[list(valid)] = 1.0
    mask[0] = float(len(valid) == count)
    return mask
