"""What a path says about an image: its suffix, its name without, whether it is DICOM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
# Tags of groups 2 and 8 with which a file without preamble begins.
BARE_STARTS = {
    group.to_bytes(2, order) + element.to_bytes(2, order)
    for order in ("little", "big")
    for group, elements in ((2, (0, 1, 2, 16)), (8, (0, 1, 5, 6, 8, 12, 13, 14, 16, 18, 20, 22, 24)))
    for element in elements
}
VOLUME_SUFFIXES = {".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"}


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM object: by its preamble, its suffix, or the first elements of a header at its start.

    Old archives and some networks leave the preamble away, and the suffix with it. What follows then is an element of
    group 2 or 8, little or big endian.
    """
    if path.name == "DICOMDIR":  # the index of a folder of DICOM files, no image
        return False
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


def visible(folder: Path) -> list[Path]:
    """Content of a folder in the order of names, without hidden entries and the ones that macOS adds to archives."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))


def single_path(data: Sequence[str | os.PathLike] | str | os.PathLike) -> Path:
    """The only path of what MONAI hands to a reader.

    Raises:
        ValueError: when there are several.
    """
    paths = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if len(paths) != 1:
        raise ValueError(f"one path expected, got {len(paths)}")
    return Path(paths[0])
