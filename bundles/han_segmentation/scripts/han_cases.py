"""Cases of head and neck: which files belong together, in HaN-Seg's form, NIfTI folders, OpenKBP, or a CT alone.

===========  ==============================================  ===================================================
form         images of a case folder                         reference
===========  ==============================================  ===================================================
HaN-Seg      ``*_IMG_CT.nrrd``, ``*_IMG_MR_T1.nrrd``         ``*_OAR_<organ>.seg.nrrd``, one per organ
NIfTI        ``ct.*`` or the folder ``ct/`` of a DICOM       ``labels.*`` (1 to 30) with ``labels.json``, which
             series; ``mr*.*`` or ``mr*/``                   names the contoured organs, or ``<organ>.*``
OpenKBP      ``ct.*``                                        ``oar.*`` (1 to 7)
alone        any volume or DICOM series                      none
===========  ==============================================  ===================================================
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .organs import NUMBERS
from .shared.io.cases import VOLUME_SUFFIXES, find_cases, image_suffix, visible
from .shared.io.errors import CaseError


def stem(path: Path) -> str:
    """Name of a file without the suffixes of images."""
    name = path.name[: -len(image_suffix(path))] if path.is_file() else path.name
    return name.removesuffix(".seg")


def is_image(path: Path) -> bool:
    """Whether a path may be a volume: a file by its suffix, or a folder."""
    return path.is_dir() or image_suffix(path) in VOLUME_SUFFIXES


def only(paths: list[Path], kind: str) -> Path | None:
    """The one path of a list, None of an empty one.

    Raises:
        CaseError: when there are several.
    """
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths[:2])
        raise CaseError(paths[0].parent, f"holds more than one {kind} ({names})", "leave one of them")
    return paths[0] if paths else None


def case_of_folder(folder: Path) -> dict[str, Any] | None:
    """The case that a folder is, None where it is none.

    Returns:
        "case", "ct", and where they exist "mr", "organs" (name to path), "labels" (1 to 30), "openkbp" (1 to 7).

    Raises:
        CaseError: no CT beside other files of HaN-Seg, two images of one kind, or a reference of an unknown organ.
    """
    content = [path for path in visible(folder) if is_image(path)]
    han_seg = [path for path in content if "_IMG_CT" in path.name]
    ct = only(han_seg or [path for path in content if stem(path).lower() == "ct"], "CT")
    if ct is None:
        if any("_OAR_" in path.name or "_IMG_" in path.name for path in content):
            raise CaseError(folder, "has no CT (*_IMG_CT.nrrd)", "download the case again")
        return None
    item: dict[str, Any] = {"case": folder.name, "ct": str(ct)}
    if han_seg:
        item["case"] = stem(ct).split("_IMG_CT")[0]
        mr = only([path for path in content if "_IMG_MR" in path.name], "MR")
        organs = {stem(path).split("_OAR_")[1]: str(path) for path in content if "_OAR_" in path.name}
    else:
        mr = only([path for path in content if stem(path).lower().split("_")[0] == "mr"], "MR")
        organs = {stem(path): str(path) for path in content if stem(path) in NUMBERS}
    for name, organ_path in organs.items():
        if name not in NUMBERS:
            raise CaseError(organ_path, f"names no organ of HaN-Seg ({name})", "correct the name or remove the file")
    if mr is not None:
        item["mr"] = str(mr)
    if organs:
        item["organs"] = organs
    for key, name in {"labels": "labels", "openkbp": "oar"}.items():
        path = only([path for path in content if path.is_file() and stem(path).lower() == name], f"file {name}")
        if path is not None and not organs:
            item[key] = str(path)
    return item


def case_folders(folder: Path) -> list[dict[str, Any]]:
    """Cases of a folder and of the folders below it.

    A folder that is wrong is a case as well, with the reason under "problem": reading it will fail, not the others.
    """
    try:
        item = case_of_folder(folder)
    except CaseError as error:
        return [{"case": folder.name, "ct": str(folder), "problem": (error.path, error.problem, error.advice)}]
    if item is not None:
        return [item]
    return [case for sub in visible(folder) if sub.is_dir() for case in case_folders(sub)]


def find_han_cases(dataset_dir: str | os.PathLike, mr: str | os.PathLike | None = None) -> list[dict[str, Any]]:
    """Cases of a data set, in the order of their names.

    Args:
        dataset_dir: a CT (file or DICOM folder), a case folder, or a folder of such.
        mr: the MR of the only case, where its file lies elsewhere.

    Returns:
        dictionaries as :func:`case_of_folder` gives them; names of cases are unique.

    Raises:
        CaseError: when there is none, or several with one name.
    """
    root = Path(dataset_dir)
    found = case_folders(root) if root.is_dir() else []
    if not found:
        found = [{"case": item["case"], "ct": item["image"]} for item in find_cases(root, kind="volume")]
    names = [item["case"] for item in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CaseError(root, f"holds two cases of the name {twice[0]}", "rename one of them")
    if mr is not None:
        if len(found) != 1:
            raise CaseError(mr, f"is one MR for {len(found)} cases", "give the CT that it belongs to")
        if not Path(mr).exists():
            raise CaseError(mr, "does not exist", "give the path of the MR")
        found[0]["mr"] = str(mr)
    return found
