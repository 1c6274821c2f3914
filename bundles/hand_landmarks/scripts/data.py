"""Lists of training cases: annotated radiographs and procedural ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Transform

from .hand_anatomy import HAND_LANDMARK_NAMES
from .phantoms.phantom import write_hand_dataset
from .shared.io.errors import CaseError
from .shared.io.point_files import LandmarkRow, match_landmarks, read_landmark_table

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
    for row in read_landmark_table(landmarks, len(HAND_LANDMARK_NAMES)):
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


class AttachLandmarksd(Transform):
    """Add the reference landmarks of a case from a table: (37, 2) in pixels of the file, under ``landmarks``.

    Looking them up case by case, a missing row costs that case alone.

    Args:
        table: CSV as in :func:`hand_datalist`.

    Raises:
        CaseError: when the table is broken, or when called with a case that it has no row of.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self.rows: list[LandmarkRow] = read_landmark_table(table, len(HAND_LANDMARK_NAMES))

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return match_landmarks([dict(data)], self.rows, self.table)[0]


def prepare_batch(
    batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 1, X, Y) and landmarks (B, 37, 2) of a training batch, the images with channels last for speed."""
    image = torch.as_tensor(batchdata["image"]).as_subclass(torch.Tensor)
    image = image.to(device, memory_format=torch.channels_last, non_blocking=non_blocking, **kwargs)
    return image, torch.as_tensor(batchdata["landmarks"]).to(device, non_blocking=non_blocking)
