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
# Tags (0002,0000), (0002,0001), (0002,0002), (0002,0010), (0008,0000), (0008,0001), (0008,0005), (0008,0008) and so on,
# with which a file without preamble begins.
BARE_STARTS = {
    group.to_bytes(2, order) + element.to_bytes(2, order)
    for order in ("little", "big")
    for group, elements in ((2, (0, 1, 2, 16)), (8, (0, 1, 5, 6, 8, 12, 13, 14, 16, 18, 20, 22, 24)))
    for element in elements
}
VOLUME_SUFFIXES = {".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"}


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by the preamble, by its suffix, or by beginning with the first elements of a header.

    Old archives and some networks leave the preamble away, and the suffix with it. What follows then is an element of
    group 2 or 8, little or big endian.
    """
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with open(path, "rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    bare = start[:4] in BARE_STARTS and len(start) == 132
    return bare and not known_suffix(path)


def image_suffix(path: Path) -> str:
    """The suffix in lower case, with that of a compressed NIfTI in one piece."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def known_suffix(path: Path) -> str:
    """:func:`image_suffix` where it is that of an image, and else "": names may hold dots, as the UIDs of DICOM do."""
    suffix = image_suffix(path)
    return suffix if suffix in VOLUME_SUFFIXES | PICTURE_SUFFIXES | DICOM_SUFFIXES else ""


def image_stem(path: Path) -> str:
    """Name of an image without its suffix; that of a folder, or with a suffix of no image, is kept whole."""
    suffix = "" if path.is_dir() else known_suffix(path)
    return path.name[: len(path.name) - len(suffix)] or path.name


def single_path(data: Sequence[str | os.PathLike] | str | os.PathLike) -> Path:
    """The only path of what MONAI hands to a reader.

    Raises:
        ValueError: when there are several.
    """
    paths = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if len(paths) != 1:
        raise ValueError(f"one path expected, got {len(paths)}")
    return Path(paths[0])


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
    """A different name for each path: its stem, with folders and then the suffix added where stems coincide.

    Names that differ in capital letters alone coincide, as they do in the file systems of Windows and macOS.
    """

    def in_folders(path: Path) -> str:
        return "_".join([*path.relative_to(root).parent.parts, image_stem(path)])

    def in_full(path: Path) -> str:
        return "_".join([in_folders(path), *known_suffix(path).split(".")[1:]])

    names = [image_stem(path) for path in paths]
    for longer in (in_folders, in_full):
        counts = Counter(name.casefold() for name in names)
        names = [longer(p) if counts[name.casefold()] > 1 else name for name, p in zip(names, paths, strict=True)]
    counts = Counter(name.casefold() for name in names)
    return [f"{name}_{i}" if counts[name.casefold()] > 1 else name for i, name in enumerate(names)]


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
