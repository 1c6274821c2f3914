"""Lists of training cases: annotated radiographs and procedural ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .shared.cases import CaseError
from .shared.phantoms.hand import write_hand_dataset
from .shared.point_files import read_landmark_table

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".nii.gz", ".nii", ".mha")


def find_image(folder: Path, name: str) -> Path:
    """The file of an image that a landmark table names with or without its suffix.

    Raises:
        CaseError: when there is none.
    """
    for candidate in [folder / name, *[folder / f"{name}{suffix}" for suffix in SUFFIXES]]:
        if candidate.is_file():
            return candidate
    raise CaseError(folder / name, "named in the landmark table but no such image", "complete the folder or the table")


def hand_datalist(
    dataset_dir: str, landmarks: str, split: str | None = None, phantoms: int = 0, phantom_dir: str | None = None
) -> list[dict[str, Any]]:
    """Annotated cases.

    Args:
        dataset_dir: folder of the images, or of one sub-folder per split.
        landmarks: CSV with the columns image, (split,) x0, y0 … x36, y36 in pixels of the files.
        split: rows of this split alone; all rows where None or where the table has no such column.
        phantoms: procedural hands to add.
        phantom_dir: where they are written, once.

    Returns:
        ``{"image": path, "case": name, "landmarks": (37, 2) float64}`` each.

    Raises:
        CaseError: when the table is broken, names a missing image or has no row of this split.
    """
    folder = Path(dataset_dir)
    cases = []
    for row in read_landmark_table(landmarks):
        if split is not None and row.split is not None and row.split != split:
            continue
        inside = folder / row.split if row.split is not None and (folder / row.split).is_dir() else folder
        cases.append({"image": str(find_image(inside, row.image)), "case": row.image, "landmarks": row.points})
    if not cases:
        raise CaseError(landmarks, f"has no row of the split {split}", "check its split column")
    if phantoms:
        if phantom_dir is None:
            raise ValueError("phantoms need a folder to be written to")
        table = Path(phantom_dir) / "landmarks.csv"
        if not table.is_file():
            write_hand_dataset(phantom_dir, phantoms)
        cases += hand_datalist(phantom_dir, str(table))[:phantoms]
    return cases
