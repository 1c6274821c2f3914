"""Finding the cases of a data set, and a name for each."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from .dicom_series import SAME_PLACE_MM, Slice, image_slices, read_slices, same_plane
from .errors import CaseError
from .file_names import PICTURE_SUFFIXES, VOLUME_SUFFIXES, image_stem, image_suffix, is_dicom, known_suffix, visible

logger = logging.getLogger(__name__)

SERIES = "?series="  # between the folder and the identifier of one of several series in it
# What follows the name of a case in the names of images that the bundles write about it.
RESULTS = (
    "spine", "vertebrae", "segmentation", "preview", "overlay", "landmarks", "attention", "ct", "clusters",
    "uncertainty", "confidence", "reprojection", "pose", "rtstruct",
)  # fmt: skip
# Label maps lie beside their images under such names, those of the phantoms and of other tools alike.
LABEL_MAPS = ("seg", "mask", "msk", "label", "labels", "segmentation")
SHOWN = 3


def is_label_map(path: Path, images: set[str]) -> bool:
    """Whether a file is named as the label map of an image beside it, of which ``images`` are the stems.

    ``a_seg.nii.gz`` belongs to ``a.nii.gz`` or ``a_ct.nii.gz``, and so do ``a.seg.nrrd`` and ``a_seg-vert_msk.nii.gz``.
    """
    stem, _, ending = image_stem(path).replace(".seg", "_seg").rpartition("_")
    stem = stem.split("_seg-")[0]
    return ending.lower() in LABEL_MAPS and bool({stem, f"{stem}_ct"} & images)


def result_cases(folder: Path) -> set[str]:
    """Cases of which a folder holds results: those that the JSON files of the bundles in it name."""
    found = set()
    for path in folder.glob("*_*.json"):
        with suppress(OSError, ValueError):
            document = json.loads(path.read_text(encoding="utf-8"))
            case = document.get("case") if isinstance(document, dict) else None
            if case and path.name.startswith(f"{case}_"):
                found.add(str(case))
    return found


def is_result(path: Path, cases: set[str]) -> bool:
    """Whether an image or folder is named as the result of a case whose JSON lies beside it."""
    if path.is_dir():
        of_pose = path.name in cases and (path / "parameters.pt").exists()
        return of_pose or (path.name == "intermediates" and bool(cases))
    stem, _, ending = image_stem(path).rpartition("_")
    return ending in RESULTS and stem in cases


def without_results(content: Sequence[Path], left_out: list[str], label_maps: bool = False) -> list[Path]:
    """Content of a folder without the results of bundles in it and without the label maps of images.

    A file is left out where its name is that of another with one of a few words behind it: a label map beside its image
    (``a_seg.nii.gz`` beside ``a.nii.gz``), or a result beside the JSON that was written with it. Nothing else is, and
    the names of what is left out are added to ``left_out``.
    """
    if not content:
        return []
    cases = result_cases(content[0].parent)
    images = set() if label_maps else {image_stem(path) for path in content if image_suffix(path) in VOLUME_SUFFIXES}
    kept = []
    for path in content:
        is_map = image_suffix(path) in VOLUME_SUFFIXES and path.is_file() and is_label_map(path, images)
        is_image = path.is_dir() or bool(known_suffix(path))
        if is_map or (is_image and is_result(path, cases)):
            left_out.append(path.name)
        else:
            kept.append(path)
    return kept


def xray_files(folder: Path, left_out: list[str]) -> list[Path]:
    """Radiographs of a folder, or where it holds none itself those of its sub-folders."""
    content = without_results(visible(folder), left_out)
    suffixes = VOLUME_SUFFIXES | PICTURE_SUFFIXES
    own = [path for path in content if path.is_file() and (image_suffix(path) in suffixes or is_dicom(path))]
    subs = [path for path in content if path.is_dir()]
    if own:
        left_out += [f"{sub.name}/" for sub in subs if any(known_suffix(path) for path in sub.rglob("*"))]
        return own
    return [path for sub in subs for path in xray_files(sub, left_out)]


def volume_files(folder: Path, left_out: list[str], label_maps: bool = False) -> tuple[list[Path], list[Slice]]:
    """Volume files and DICOM objects of a folder and all folders below it."""
    files: list[Path] = []
    slices: list[Slice] = []
    for path in without_results(visible(folder), left_out, label_maps):
        if path.is_dir():
            more_files, more_slices = volume_files(path, left_out, label_maps)
            files, slices = files + more_files, slices + more_slices
        elif image_suffix(path) in VOLUME_SUFFIXES:
            files.append(path)
        elif is_dicom(path):
            slices += read_whole_header(path, left_out)
    return files, slices


def read_whole_header(path: Path, left_out: list[str]) -> list[Slice]:
    """The header of a DICOM file as a list of one; of none, with a note, where it cannot be read."""
    try:
        return read_slices([path])
    except CaseError:
        left_out.append(f"{path.name} (no whole DICOM file)")
        return []


def common_folder(slices: Sequence[Slice]) -> Path:
    return Path(os.path.commonpath([item.path.parent for item in slices]))


def belong_together(first: Sequence[Slice], second: Sequence[Slice]) -> bool:
    """Whether slices of one identifier in two folders are parts of one volume, and no copy and no other patient."""
    one, other = first[0].header, second[0].header
    if one.get("PatientID") != other.get("PatientID") or not all(item.has_place() for item in (*first, *second)):
        return False
    if not same_plane(one, other):
        return False
    normal = np.cross(*np.reshape(np.asarray(one.ImageOrientationPatient, float), (2, 3)))
    along = [
        np.array([np.asarray(item.header.ImagePositionPatient, float) @ normal for item in part])
        for part in (first, second)
    ]
    return bool(np.abs(along[0][:, None] - along[1][None]).min() > SAME_PLACE_MM)


def group_series(slices: Sequence[Slice], left_out: list[str]) -> list[list[Slice]]:
    """Slices sorted into volumes: by series, and by folder unless the folders hold parts of one volume.

    Scouts, reports, plans and other objects without pixels are left out, screenshots where slices lie beside them.
    """
    folders: dict[Path, list[Slice]] = {}
    for item in slices:
        folders.setdefault(item.path.parent, []).append(item)
    parts: list[list[Slice]] = []
    for content in folders.values():
        images = image_slices(content)
        others = [item for item in content if item not in images]
        left_out += [f"{item.path.name} ({item.header.get('Modality') or 'no image'})" for item in others]
        own: dict[str, list[Slice]] = {}
        for item in images:
            own.setdefault(str(item.path) if item.frames > 1 else item.uid, []).append(item)
        parts += own.values()
    volumes: list[list[Slice]] = []
    for part in parts:
        same = [v for v in volumes if part[0].uid and v[0].uid == part[0].uid and part[0].frames == v[0].frames == 1]
        joined = next((v for v in same if belong_together(v, part)), None)
        if joined is not None:
            joined += part
        elif any({item.header.get("SOPInstanceUID") for item in part} <= object_ids(v) for v in same):
            left_out.append(f"{part[0].path.parent.name} (a copy of a series)")
        else:
            volumes.append(list(part))
    return volumes


def object_ids(slices: Sequence[Slice]) -> set[str]:
    return {item.header.get("SOPInstanceUID") for item in slices}


def series_path(volume: Sequence[Slice], volumes: Sequence[Sequence[Slice]]) -> Path:
    """What stands for a DICOM volume: its file, its folder, or its folder and the identifier of the series.

    The folder alone is enough where :func:`~shared.io.volumes.VolumeReader` finds the same slices in it.
    """
    folder = common_folder(volume)
    if volume[0].frames > 1:
        alone = sum(other[0].path.parent == folder for other in volumes) == 1
        return folder if alone else volume[0].path
    inside = [other for other in volumes if common_folder(other) == folder or folder in other[0].path.parents]
    if len(inside) == 1 and all(item.path.parent == folder for item in volume):
        return folder
    return Path(f"{folder}{SERIES}{volume[0].uid}")


def split_series(path: str | os.PathLike) -> tuple[Path, str | None]:
    """Folder and identifier of the series of a path of :func:`series_path`; None where it names none."""
    folder, _, uid = str(path).partition(SERIES)
    return Path(folder), uid or None


def series_slices(path: str | os.PathLike) -> list[Slice]:
    """The slices that a path of :func:`series_path` stands for: of a file, a folder, or one series of a folder.

    Raises:
        CaseError: for a file that is no whole DICOM.
    """
    folder, uid = split_series(path)
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*")) if uid else visible(folder)
    slices = read_slices(item for item in paths if item.is_file() and not item.name.startswith(".") and is_dicom(item))
    return image_slices([item for item in slices if uid is None or item.uid == uid])


def is_series(path: str | os.PathLike) -> bool:
    """Whether a path stands for a DICOM volume of single slices: a folder, or one of several series in it."""
    folder, uid = split_series(path)
    if uid is not None or not folder.is_dir():
        return uid is not None
    return any(item.frames == 1 for item in series_slices(folder))


def series_stem(path: Path, volume: Sequence[Slice], alone: bool) -> str:
    """Name of a DICOM volume: of its file or folder, with the number of the series where the folder holds several."""
    folder, uid = split_series(path)
    if uid is None or alone:
        return image_stem(folder)
    number = volume[0].header.get("SeriesNumber")
    return f"{folder.name}_{number if number is not None else uid}"


def dicom_volumes(slices: Sequence[Slice], files: Sequence[Path], left_out: list[str]) -> list[tuple[Path, str]]:
    """Path and stem of every DICOM volume among the objects of a data set."""
    volumes = group_series(slices, left_out)
    whole = [v for v in volumes if len(v) > 1 or v[0].frames > 1]
    if whole or files:
        left_out += [f"{v[0].path.name} (a single slice)" for v in volumes if v not in whole]
        volumes = whole
    found = []
    for volume in volumes:
        path = series_path(volume, volumes)
        alone = sum(common_folder(other) == common_folder(volume) for other in volumes) == 1
        found.append((path, series_stem(path, volume, alone)))
    return found


def case_names(paths: Sequence[Path], root: Path, stems: Sequence[str] | None = None) -> list[str]:
    """A different name for each path: its stem, with folders and then the suffix added where stems coincide.

    Names that differ in capital letters alone coincide, as they do in the file systems of Windows and macOS.
    """
    stems = [image_stem(path) for path in paths] if stems is None else stems
    parents = [split_series(path)[0].relative_to(root).parent.parts for path in paths]
    folders = ["_".join([*parts, stem]) for parts, stem in zip(parents, stems, strict=True)]
    full = ["_".join([name, *known_suffix(p).split(".")[1:]]) for name, p in zip(folders, paths, strict=True)]
    names = list(stems)
    for longer in (folders, full):
        counts = Counter(name.casefold() for name in names)
        names = [b if counts[a.casefold()] > 1 else a for a, b in zip(names, longer, strict=True)]
    counts = Counter(name.casefold() for name in names)
    return [f"{name}_{i}" if counts[name.casefold()] > 1 else name for i, name in enumerate(names)]


def say_left_out(root: Path, left_out: Sequence[str]) -> None:
    """One line about what lies in a data set and is no case."""
    if left_out:
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        logger.warning(
            "%s: %d left out, results, label maps or no volumes: %s%s; to process one, give its own path",
            root, len(left_out), ", ".join(left_out[:SHOWN]), more,
        )  # fmt: skip


def find_cases(
    dataset_dir: str | os.PathLike, kind: Literal["xray", "volume"] = "xray", label_maps: bool = False
) -> list[dict[str, str]]:
    """Cases in a file or folder, in the order of their paths.

    Args:
        dataset_dir: one file; or a folder. Volumes are looked for in all folders below it, radiographs in those below
            it where it holds none itself.
        kind: "xray" for single images (PNG, JPEG, BMP, TIFF, DICOM, or NIfTI, MHA, NRRD of one slice), "volume" for
            NIfTI, MHA, NRRD and DICOM series. A series is a volume, whether its slices share their folder with another
            series or lie in two; ``image`` is then ``<folder>?series=<identifier>``.
        label_maps: whether label maps beside their images are listed as well, for those who pair them.

    Returns:
        One ``{"image": path, "case": name}`` each; no two names are equal. Results of the bundles, label maps, scouts,
        reports and the like are left out, with one line about them.

    Raises:
        CaseError: when there is no such path, or nothing in it that could be a case.
    """
    root = Path(dataset_dir).expanduser()
    if root.name == "DICOMDIR" and root.is_file():
        root = root.parent
    pictures = "PNG, JPEG, BMP, TIFF, " if kind == "xray" else ""
    advice = f"give --dataset_dir a file or folder of {pictures}NIfTI, MHA, NRRD or DICOM"
    folder = split_series(root)[0]
    if not folder.exists():
        raise CaseError(root, "no such file or folder", advice)
    left_out: list[str] = []
    stems = None
    if folder.is_file() or folder != root:
        suffixes = VOLUME_SUFFIXES | (PICTURE_SUFFIXES if kind == "xray" else set())
        whole = folder != root or image_suffix(root) in suffixes or is_dicom(root)
        paths, root = ([root] if whole else []), folder.parent
    elif kind == "xray":
        paths = xray_files(root, left_out)
    else:
        files, slices = volume_files(root, left_out, label_maps)
        found = sorted([*((path, image_stem(path)) for path in files), *dicom_volumes(slices, files, left_out)])
        paths, stems = [path for path, _ in found], [stem for _, stem in found]
    say_left_out(Path(dataset_dir), left_out)
    if not paths:
        raise CaseError(dataset_dir, f"holds no {'radiograph' if kind == 'xray' else 'volume'}", advice)
    names = case_names(paths, root, stems)
    return [{"image": str(path), "case": name} for path, name in zip(paths, names, strict=True)]
