"""Lists of training cases: annotated radiographs and procedural ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .landmark_set import SHIPPED, LandmarkSet, read_landmark_set
from .phantoms.phantom import write_hand_dataset
from .shared.io.cases import PICTURE_SUFFIXES, VOLUME_SUFFIXES, find_cases, image_stem
from .shared.io.errors import CaseError
from .shared.io.point_files import LandmarkRow, read_landmark_table

SUFFIXES = (*sorted(PICTURE_SUFFIXES | VOLUME_SUFFIXES), ".dcm")


def find_image(folder: Path, name: str) -> Path:
    """The file of an image that a landmark table names with or without its suffix.

    Raises:
        CaseError: when there is none.
    """
    for candidate in [folder / name, *[folder / f"{name}{suffix}" for suffix in SUFFIXES]]:
        if candidate.is_file():
            return candidate
    raise CaseError(folder / name, "named in the landmark table but no such image", "complete the folder or the table")


def read_split(landmarks: str, landmark_set: LandmarkSet, split: str | None = None) -> list[LandmarkRow]:
    """Rows of a landmark table.

    Args:
        landmarks: CSV with the columns image, (split,) x0, y0, x1, y1 … in pixels of the files.
        landmark_set: how many landmarks it has to have.
        split: rows of this split alone; all rows where None or where the table has no such column.

    Raises:
        CaseError: when the table is broken or has no row of this split.
    """
    rows = read_landmark_table(landmarks, len(landmark_set))
    rows = [row for row in rows if split is None or row.split is None or row.split == split]
    if not rows:
        raise CaseError(landmarks, f"has no row of the split {split}", "check its split column")
    return rows


def find_annotated(dataset_dir: str, rows: Sequence[LandmarkRow]) -> list[dict[str, Any]]:
    """The images that rows of a landmark table name.

    Args:
        dataset_dir: folder of the images, or of one sub-folder per split.
        rows: of the table.

    Returns:
        ``{"image": path, "case": name, "landmarks": (K, 2) float64}`` each.

    Raises:
        CaseError: when an image is missing.
    """
    folder = Path(dataset_dir)
    cases = []
    for row in rows:
        inside = folder / row.split if row.split is not None and (folder / row.split).is_dir() else folder
        path = find_image(inside, row.image)
        cases.append({"image": str(path), "case": image_stem(path), "landmarks": row.points})
    return cases


def hand_datalist(
    dataset_dir: str,
    landmarks: str,
    landmark_set: LandmarkSet,
    split: str | None = None,
    phantoms: int = 0,
    phantom_dir: str | None = None,
) -> list[dict[str, Any]]:
    """Annotated cases.

    Args:
        dataset_dir: as in :func:`find_annotated`.
        landmarks: as in :func:`read_split`.
        landmark_set: as in :func:`read_split`.
        split: as in :func:`read_split`.
        phantoms: procedural hands to add.
        phantom_dir: where they are written, once.

    Returns:
        as :func:`find_annotated`.

    Raises:
        CaseError: when the table is broken, names a missing image or has no row of this split, or when phantoms are
            asked for that have other landmarks.
    """
    cases = find_annotated(dataset_dir, read_split(landmarks, landmark_set, split))
    if phantoms:
        if landmark_set.names != read_landmark_set(SHIPPED).names:
            raise CaseError(landmark_set.path, f"is not the set of the phantoms, {SHIPPED.name}", "add --phantoms 0")
        if phantom_dir is None:
            raise ValueError("phantoms need a folder to be written to")
        table = Path(phantom_dir) / "landmarks.csv"
        if not table.is_file():
            write_hand_dataset(phantom_dir, phantoms)
        cases += hand_datalist(phantom_dir, str(table), landmark_set)[:phantoms]
    return cases


def cases_to_evaluate(dataset_dir: str, rows: Sequence[LandmarkRow], split: str | None = None) -> list[dict[str, str]]:
    """Cases without their reference: those of the rows where a split is named, else all images of the folder.

    Args:
        dataset_dir: file or folder.
        rows: of the split.
        split: name of the split, or None.

    Raises:
        CaseError: as :func:`find_annotated` or :func:`~scripts.shared.io.cases.find_cases`.
    """
    if split is None:
        return find_cases(dataset_dir, "xray")
    return [{"image": case["image"], "case": case["case"]} for case in find_annotated(dataset_dir, rows)]
