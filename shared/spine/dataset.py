"""Training cases of the vertebra pipeline: the table of files, folds, and preprocessing that is done once.

Every stage works on the same preparation: the CT on an isotropic RAS grid, the label map as it is, and the body centres
in RAS mm as one row per landmark channel.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from ..geometry.grids import to_grid, volume_affine
from ..geometry.hounsfield import LOWEST_HU
from ..io.errors import CaseError
from ..io.prepared_folder import prepared_folder
from ..io.volumes import VolumeReader
from .centres import case_centres
from .labels import CRANIOCAUDAL, SPINE_LABELS

COLUMNS = ("name", "type", "image_path", "mask_path", "centroid_json_path")
CHANNELS: tuple[int, ...] = tuple(label for label in CRANIOCAUDAL if label != SPINE_LABELS["coccyx"])
FAR_MM = 1e5  # where a landmark is put that the image does not show: its heatmap is empty, and is trained to be
PREPARATION = 1  # number of the way of preparing; a new one makes what older versions have kept unusable


@dataclass(frozen=True)
class SpineCase:
    """One row of the table.

    Attributes:
        name: unique.
        split: "train", "val", or anything else where folds decide.
        image: CT.
        mask: label map, or None.
        centroids: JSON of body centres, or None.
    """

    name: str
    split: str
    image: Path
    mask: Path | None
    centroids: Path | None


def read_cases(table: str | os.PathLike) -> list[SpineCase]:
    """Rows of a table with the columns name, type, image_path, mask_path, centroid_json_path.

    Paths are relative to the folder of the table. ``type`` and one of mask and centroids may be empty.

    Raises:
        CaseError: when the table or a file is missing, a column is, or a name occurs twice.
    """
    path = Path(table)
    if not path.is_file():
        raise CaseError(path, "no such table", f"give a CSV with the columns {', '.join(COLUMNS)}")
    with open(path, newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = {"name", "image_path"} - set(reader.fieldnames or ())
        if missing:
            raise CaseError(path, f"has no column {sorted(missing)[0]}", f"name the columns {', '.join(COLUMNS)}")
        rows = list(reader)
    cases, names = [], set()
    for number, row in enumerate(rows, start=2):
        files: dict[str, Path | None] = dict.fromkeys(COLUMNS[2:])
        for column in files:
            text = (row.get(column) or "").strip()
            if not text:
                continue
            file = path.parent / text
            if not file.exists():
                raise CaseError(file, f"named in line {number} of {path.name} but not there", "correct the table")
            files[column] = file
        image, mask, centroids = files.values()
        if image is None:
            raise CaseError(path, f"names no image in line {number}", "fill in image_path")
        if mask is None and centroids is None:
            raise CaseError(path, f"has neither mask nor centroids in line {number}", "fill in one of both")
        if row["name"] in names:
            raise CaseError(path, f"names {row['name']} twice", "give every case a name of its own")
        names.add(row["name"])
        cases.append(SpineCase(row["name"], (row.get("type") or "").strip(), image, mask, centroids))
    if not cases:
        raise CaseError(path, "lists no case", "add one row per CT")
    return cases


def subject_of(name: str) -> str:
    """The patient of a case: what BIDS names put after "sub-", else the whole name."""
    found = re.match(r"(sub-[^_]+)", name)
    return found.group(1) if found else name


def split_cases(
    cases: Sequence[SpineCase], split: str, fold: int = 0, num_folds: int = 5, seed: int = 0
) -> list[SpineCase]:
    """Cases for training or validation.

    Rows of type "train" and "val" stay where the table puts them, if it has both; otherwise the patients are shuffled
    and dealt out into folds, and fold ``fold`` is for validation.

    Args:
        cases: all.
        split: "train", "val", or "all".
        fold: 0 to num_folds - 1.
        num_folds: at least 2.
        seed: of the shuffling.

    Raises:
        CaseError: when the fold does not exist or no case is left.
    """
    if split == "all":
        return list(cases)
    if split not in ("train", "val"):
        raise ValueError(f"split {split!r}: train, val or all")
    if {"train", "val"} <= {case.split for case in cases}:
        return [case for case in cases if case.split == split]
    subjects = sorted({subject_of(case.name) for case in cases})
    if not 0 <= fold < num_folds:
        raise CaseError("--fold", f"is {fold}", f"give a number from 0 to {num_folds - 1}")
    if num_folds < 2 or len(subjects) < num_folds:
        raise CaseError("--num_folds", f"is {num_folds} for {len(subjects)} patients", "give 2 or more, and not more")
    order = np.random.default_rng(seed).permutation(len(subjects))
    held = {subjects[index] for index in order[fold::num_folds]}
    return [case for case in cases if (subject_of(case.name) in held) == (split == "val")]


def spine_datalist(
    table: str | os.PathLike, split: str, fold: int = 0, num_folds: int = 5, seed: int = 0
) -> list[dict[str, Any]]:
    """``{"case": name, "files": SpineCase}`` of each case of a split; errors as of :func:`split_cases`."""
    cases = split_cases(read_cases(table), split, fold, num_folds, seed)
    return [{"case": case.name, "files": case} for case in cases]


def file_state(path: Path | None) -> list[Any]:
    """Path, size and time of change of a file, or of every file of a folder."""
    if path is None:
        return []
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    return [[str(item.resolve()), item.stat().st_size, item.stat().st_mtime_ns] for item in files]


def load_volume(path: Path, allow_constant: bool = False) -> MetaTensor:
    """(1, X, Y, Z) of a file or DICOM folder with its affine (RAS mm)."""
    array, meta = VolumeReader(allow_constant).get_data(path)
    return MetaTensor(torch.as_tensor(np.ascontiguousarray(array))[None], affine=torch.as_tensor(meta["affine"]))


def landmark_rows(centres: Mapping[int, np.ndarray], unknown: Sequence[int] = ()) -> np.ndarray:
    """(27, 3) RAS mm, a row per channel: ``FAR_MM`` for what the image does not show, NaN for what is unknown."""
    rows = np.full((len(CHANNELS), 3), FAR_MM)
    for row, label in enumerate(CHANNELS):
        if label in centres:
            rows[row] = centres[label]
        elif label in unknown:
            rows[row] = np.nan
    return rows


def case_of(item: Mapping[Any, Any]) -> SpineCase:
    """The files of an item: under ``files``, or as the paths ``image`` and ``label`` that MONAI Label trains with."""
    if "files" in item:
        return item["files"]
    image = Path(item["image"])
    return SpineCase(image.name.split(".")[0], "", image, Path(item["label"]), None)


class PrepareSpine(Transform):
    """Read, resample and keep a training case; later calls map the kept files into memory.

    What is kept carries a key of all parameters and of the path, size and time of change of every file, so that a
    change of any of them prepares the case anew.

    Args:
        cache_dir: where prepared cases are kept, one folder each.
        spacing_mm: of the grid of the CT.
        smoothing_sigma: as :func:`~shared.geometry.grids.to_grid`.

    Returns (of the call): the item with ``image`` (1, X, Y, Z) int16 HU on the grid, ``labels`` (1, X, Y, Z) uint8 on
    the grid of its file (empty (1, 1, 1, 1) where there is no mask), ``centres`` (27, 3) float64 RAS mm.

    Raises:
        CaseError: for files that cannot be used.
    """

    def __init__(self, cache_dir: str | os.PathLike, spacing_mm: float, smoothing_sigma: float = 0.0) -> None:
        self.cache_dir, self.spacing_mm, self.smoothing_sigma = Path(cache_dir), spacing_mm, smoothing_sigma

    def key(self, case: SpineCase) -> str:
        """Name of the folder in which a case is kept."""
        parts = [PREPARATION, self.spacing_mm, self.smoothing_sigma]
        state = [*parts, *(file_state(path) for path in (case.image, case.mask, case.centroids))]
        return f"{case.name}-{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]}"

    def prepare(self, case: SpineCase, folder: Path) -> None:
        """Write the prepared case into a folder."""
        volume = load_volume(case.image)
        grid = to_grid(volume, self.spacing_mm, self.smoothing_sigma)
        image = grid.as_tensor()[0].round().clamp(LOWEST_HU, 32767).to(torch.int16).numpy()
        labels = None if case.mask is None else load_volume(case.mask, allow_constant=True)
        centres, unknown = case_centres(case.centroids, labels, volume)
        np.save(folder / "image.npy", np.ascontiguousarray(image))
        if labels is None:
            mask, mask_affine = np.zeros((1, 1, 1), np.uint8), np.eye(4)
        else:
            mask, mask_affine = labels.as_tensor()[0].numpy().astype(np.uint8), volume_affine(labels)
        np.save(folder / "labels.npy", np.ascontiguousarray(mask))
        np.savez(
            folder / "geometry.npz",
            affine=volume_affine(grid),
            labels_affine=mask_affine,
            centres=landmark_rows(centres, unknown),
        )

    def folder(self, case: SpineCase) -> Path:
        """The folder of a prepared case, made if it is not there yet; whole or not at all."""
        return prepared_folder(self.cache_dir / self.key(case), lambda part: self.prepare(case, part))

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        case = case_of(data)
        folder = self.folder(case)
        geometry = np.load(folder / "geometry.npz")
        # copy-on-write maps: read from disk as far as a crop needs it, shared between processes
        image = torch.from_numpy(np.load(folder / "image.npy", mmap_mode="c"))
        labels = torch.from_numpy(np.load(folder / "labels.npy", mmap_mode="c"))
        result = {"case": case.name} | {key: value for key, value in data.items() if key != "files"}
        result["image"] = MetaTensor(image[None], affine=torch.as_tensor(geometry["affine"]))
        result["labels"] = MetaTensor(labels[None], affine=torch.as_tensor(geometry["labels_affine"]))
        result["centres"] = torch.as_tensor(geometry["centres"])
        return result
