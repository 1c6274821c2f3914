"""Finding the cases of a data set, and a name for each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from .errors import CaseError

DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
VOLUME_SUFFIXES = {".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"}


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content (the preamble) or, where that is missing, by its suffix."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES


def image_suffix(path: Path) -> str:
    """The suffix in lower case, with that of a compressed NIfTI in one piece."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def visible(folder: Path) -> list[Path]:
    """Content of a folder in the order of names, without hidden entries and the ones that macOS adds to archives."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))


def xray_files(folder: Path) -> list[Path]:
    """Radiographs of a folder, or where it holds none itself those of its sub-folders."""
    content = visible(folder)
    suffixes = VOLUME_SUFFIXES | PICTURE_SUFFIXES
    own = [
        path
        for path in content
        if path.is_file() and (image_suffix(path) in suffixes or (path.name != "DICOMDIR" and is_dicom(path)))
    ]
    return own or [path for sub in content if sub.is_dir() for path in xray_files(sub)]


def holds_dicom(folder: Path) -> bool:
    """Whether a folder holds DICOM files itself."""
    return any(path.is_file() and path.name != "DICOMDIR" and is_dicom(path) for path in visible(folder))


def volume_files(folder: Path) -> list[Path]:
    """Volumes of a folder (files, and DICOM folders inside it), or where it holds none those of its sub-folders."""
    if holds_dicom(folder):
        return [folder]
    content = visible(folder)
    own = [
        path
        for path in content
        if (path.is_file() and image_suffix(path) in VOLUME_SUFFIXES) or (path.is_dir() and holds_dicom(path))
    ]
    return own or [path for sub in content if sub.is_dir() for path in volume_files(sub)]


def case_names(paths: Sequence[Path], root: Path) -> list[str]:
    """A different name for each path: its stem, with folders and then the suffix added where stems coincide."""

    def stem(path: Path) -> str:
        return path.name if path.is_dir() else path.name[: len(path.name) - len(image_suffix(path))] or path.name

    def in_folders(path: Path) -> str:
        return "_".join([*path.relative_to(root).parent.parts, stem(path)])

    def in_full(path: Path) -> str:
        return f"{in_folders(path)}_{image_suffix(path)[1:].replace('.', '_')}"

    names = [stem(path) for path in paths]
    for longer in (in_folders, in_full):
        counts = Counter(names)
        names = [name if counts[name] == 1 else longer(path) for name, path in zip(names, paths, strict=True)]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}_{index}" for index, name in enumerate(names)]


def find_cases(dataset_dir: str | os.PathLike, kind: Literal["xray", "volume"] = "xray") -> list[dict[str, str]]:
    """Cases in a file or folder, in the order of their paths.

    Args:
        dataset_dir: one file; or a folder of them, of which the sub-folders are searched where it holds none itself.
            A folder of DICOM slices is one volume.
        kind: "xray" for single images (PNG, JPEG, BMP, TIFF, DICOM, or NIfTI, MHA, NRRD of one slice), "volume" for
            NIfTI, MHA, NRRD and DICOM series.

    Returns:
        One ``{"image": path, "case": name}`` each; no two names are equal.

    Raises:
        CaseError: when there is no such path, or nothing in it that could be a case.
    """
    root = Path(dataset_dir).expanduser()
    pictures = "PNG, JPEG, BMP, TIFF, " if kind == "xray" else ""
    advice = f"give --dataset_dir a file or folder of {pictures}NIfTI, MHA, NRRD or DICOM"
    if not root.exists():
        raise CaseError(root, "no such file or folder", advice)
    if root.is_file():
        suffixes = VOLUME_SUFFIXES | (PICTURE_SUFFIXES if kind == "xray" else set())
        paths, root = ([root] if image_suffix(root) in suffixes or is_dicom(root) else []), root.parent
    else:
        paths = xray_files(root) if kind == "xray" else volume_files(root)
    if not paths:
        raise CaseError(dataset_dir, f"holds no {'radiograph' if kind == 'xray' else 'volume'}", advice)
    return [{"image": str(p), "case": name} for p, name in zip(paths, case_names(paths, root), strict=True)]
