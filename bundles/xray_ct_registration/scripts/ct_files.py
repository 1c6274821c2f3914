"""CTs with their label maps: finding them in a folder or a table, reading them onto one grid."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .shared.io.cases import find_cases
from .shared.io.errors import CaseError
from .shared.io.file_names import image_suffix
from .shared.io.itk_images import read_image, resample, same_grid, to_sitk
from .shared.io.volumes import VolumeReader

logger = logging.getLogger(__name__)

SIDES = {"left", "right"}
LARGEST_LABEL = 65535


def stem(path: Path) -> str:
    """Name of a file without the suffix of its format, or of a folder."""
    return path.name if path.is_dir() else path.name[: len(path.name) - len(image_suffix(path))]


def pair_by_name(cases: list[dict[str, str]], mask_suffix: str) -> list[dict[str, str]]:
    """Give each CT the label map of the same folder whose name is that of the CT with a suffix.

    Args:
        cases: as :func:`find_cases` gives them, CTs and label maps alike.
        mask_suffix: what the names of label maps have at the end, before ``.nii.gz`` and the like.

    Returns:
        the CTs, with "mask" where there is one.
    """
    keys = [(Path(item["image"]).parent, stem(Path(item["image"]))) for item in cases]
    masks = {key: item["image"] for key, item in zip(keys, cases, strict=True) if key[1].endswith(mask_suffix)}
    pairs = []
    for (folder, name), item in zip(keys, cases, strict=True):
        if (folder, name) in masks:
            continue
        mask = masks.get((folder, name + mask_suffix))
        pairs.append(item if mask is None else {**item, "mask": mask})
    used = {item.get("mask") for item in pairs}
    for path in masks.values():
        if path not in used:
            logger.warning("%s: a label map without its CT, left out", path)
    return pairs


def read_table(table: str | os.PathLike) -> list[dict[str, str]]:
    """Cases of a CSV file with the columns case, image and, where needed, mask and side ("left" or "right").

    Paths are relative to the folder of the table.

    Raises:
        CaseError: when there is no such file, a column is missing, a name occurs twice or a side is unknown.
    """
    path = Path(table)
    advice = "give a CSV file with the columns case, image[, mask][, side]"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaseError(path, f"cannot be read as a table ({error})", advice) from error
    if not rows or not {"case", "image"} <= set(rows[0]):
        raise CaseError(path, "has no rows or lacks the columns case and image", advice)
    cases: list[dict[str, str]] = []
    for row in rows:
        item = {key: value.strip() for key, value in row.items() if key and isinstance(value, str) and value.strip()}
        if "case" not in item or "image" not in item:
            raise CaseError(path, f"has a row without case or image ({row})", advice)
        if any(item["case"] == other["case"] for other in cases) or Path(item["case"]).name != item["case"]:
            raise CaseError(
                path, f"names the case {item['case']} twice or with a folder", "give each case a name of its own"
            )
        if item.get("side", "left") not in SIDES:
            raise CaseError(path, f"gives {item['case']} the side {item['side']}", "write left, right or nothing")
        item |= {key: str(path.parent / item[key]) for key in ("image", "mask") if key in item}
        cases.append({key: item[key] for key in ("case", "image", "mask", "side") if key in item})
    return cases


def ct_cases(
    dataset_dir: str | os.PathLike, mask_suffix: str = "_seg", table: str | os.PathLike | None = None
) -> list[dict[str, str]]:
    """CTs with their label maps.

    Args:
        dataset_dir: a volume or a folder of them (NIfTI, NRRD, MHA, DICOM series). The label map of ``<case>.nii.gz``
            is ``<case><mask_suffix>.nii.gz`` beside it.
        mask_suffix: at the end of the names of label maps.
        table: CSV file that lists the cases instead.

    Returns:
        ``{"case": name, "image": path(, "mask": path)(, "side": "left" or "right")}`` each.

    Raises:
        CaseError: when nothing is found or the table is broken.
    """
    if table is not None:
        return read_table(table)
    source = Path(dataset_dir).expanduser()
    listing = find_cases(source.parent if source.is_file() else source, kind="volume", label_maps=True)
    pairs = pair_by_name(listing, mask_suffix)
    if source.is_file():
        pairs = [item for item in pairs if Path(item["image"]) == source]
    if not pairs:
        problem = f"holds no CT, only files whose names end with {mask_suffix}"
        raise CaseError(dataset_dir, problem, "put the CTs beside them or set --mask_suffix")
    return pairs


def read_labels(path: str | os.PathLike) -> sitk.Image:
    """A label map, uint8 or uint16.

    Raises:
        CaseError: when the values are no labels.
    """
    reader = VolumeReader(allow_constant=True)
    array, meta = reader.get_data(reader.read(path))
    if array.min() < 0 or array.max() > LARGEST_LABEL or (array.dtype.kind == "f" and (array != np.round(array)).any()):
        problem = f"is no label map, its values lie between {array.min():g} and {array.max():g}"
        raise CaseError(path, problem, f"give whole numbers from 0 to {LARGEST_LABEL}, one per structure")
    return to_sitk(array.astype(np.uint8 if array.max() < 256 else np.uint16), np.asarray(meta["affine"], dtype=float))


def labels_on_grid(labels: sitk.Image, ct: sitk.Image, path: str | os.PathLike) -> tuple[sitk.Image, bool]:
    """Labels on the grid of their CT, and whether they had to be resampled.

    Raises:
        CaseError: when nothing of the labels lies inside the CT.
    """
    if same_grid(labels, ct):
        labels.CopyInformation(ct)
        return labels, False
    moved = resample(labels, ct, fill=0, labels=True)
    if sitk.GetArrayViewFromImage(labels).any() and not sitk.GetArrayViewFromImage(moved).any():
        raise CaseError(path, "lies beside its CT", "give the label map of this CT, in the same world coordinates")
    return moved, True


def read_ct(path: str | os.PathLike) -> sitk.Image:
    """A CT in HU, float32 or an integer type.

    Raises:
        CaseError: when it cannot be read, or can be no CT in HU because nothing of it is darker than water.
    """
    ct = read_image(path)
    lowest = float(sitk.GetArrayViewFromImage(ct).min())
    if lowest >= 0:
        problem = f"is no CT in HU, its lowest value is {lowest:g}"
        raise CaseError(path, problem, "give the CT with its rescale intercept applied (air is -1000)")
    return ct
