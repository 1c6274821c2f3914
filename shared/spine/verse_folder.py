"""The table of cases of a VerSe folder, with
``python -m scripts.shared.spine.verse_folder --folder verse --output cases.csv``.

Two layouts are understood: the current one (BIDS: ``rawdata/sub-verse004/sub-verse004_ct.nii.gz`` with
``derivatives/…/sub-verse004_seg-vert_msk.nii.gz`` and ``…_seg-subreg_ctd.json``) and that of the challenges
(``verse004.nii.gz``, ``verse004_seg.nii.gz``, ``verse004_ctd.json`` side by side).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..engines.terminal import run_command
from ..io.atomic import atomic_path
from ..io.errors import CaseError
from .dataset import COLUMNS

IMAGE = re.compile(r"(?P<name>.+)_ct\.nii(\.gz)?")
OLD_IMAGE = re.compile(r"(?P<name>(?:verse|gl)\d+[^_]*)\.nii(\.gz)?", re.IGNORECASE)
MASKS = ("{}_seg-vert_msk.nii.gz", "{}_seg-vert_msk.nii", "{}_seg.nii.gz", "{}_seg.nii")
CENTROIDS = ("{}_seg-subreg_ctd.json", "{}_seg-vb_ctd.json", "{}_ctd.json")
SPLITS = (("train", "train"), ("val", "val"), ("test", "test"))  # in names of folders: type in the table


def split_of(path: Path, root: Path) -> str:
    """Type of a case by the names of its folders, such as dataset-verse20validation; empty where none says so."""
    for part in reversed(path.relative_to(root).parts[:-1]):
        for word, split in SPLITS:
            if word in part.lower():
                return split
    return ""


def partner(names: Iterable[str], files: dict[str, list[Path]], image: Path) -> Path | None:
    """The file of one of these names that shares most of its path with the image."""
    for name in names:
        if found := files.get(name):
            return max(found, key=lambda path: (len(os.path.commonpath([path, image])), str(path)))
    return None


def verse_rows(folder: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of the table with absolute paths, in the order of their names; empty for a missing mask or centroid file.

    Args:
        folder: of one data set or of several (training, validation, test), told apart by their folders' names.

    Raises:
        CaseError: when there is no folder, or no image with a mask or centroids in it.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise CaseError(root, "no such folder", "give the folder of the VerSe data set")
    files: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            files.setdefault(path.name, []).append(path)
    rows: dict[str, dict[str, str]] = {}
    for name, paths in files.items():
        match = IMAGE.fullmatch(name) or OLD_IMAGE.fullmatch(name)
        for image in paths if match else []:
            assert match is not None
            stem = match["name"]
            mask = partner([form.format(stem) for form in MASKS], files, image)
            centroids = partner([form.format(stem) for form in CENTROIDS], files, image)
            if mask is None and centroids is None:
                continue
            split = split_of(image, root)
            case = stem if stem not in rows else f"{stem}_{split or len(rows)}"
            found = {"image_path": image, "mask_path": mask, "centroid_json_path": centroids}
            rows[case] = {"name": case, "type": split} | {k: str(v.resolve()) if v else "" for k, v in found.items()}
    if not rows:
        raise CaseError(root, "holds no CT with a mask or centroids", "give the folder with rawdata and derivatives")
    return [rows[name] for name in sorted(rows)]


def main(folder: str, output: str = "cases.csv", relative: bool = True) -> str:
    """Write the table of a VerSe folder.

    Args:
        folder: of the data set.
        output: CSV to write.
        relative: whether paths are relative to the folder of the table, so that both can be moved together.

    Returns:
        a line that says what was found.
    """
    rows = verse_rows(folder)
    target = Path(output).expanduser().resolve()
    for row in rows if relative else []:
        for column in COLUMNS[2:]:
            if row[column]:
                row[column] = os.path.relpath(row[column], target.parent)
    with atomic_path(target) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    counts = {split: sum(row["type"] == split for row in rows) for split in ("train", "val", "test", "")}
    said = ", ".join(f"{count} {split or 'without a split'}" for split, count in counts.items() if count)
    return f"{len(rows)} cases ({said}) in {target}"


if __name__ == "__main__":
    run_command(main)
