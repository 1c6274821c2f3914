"""Cases of head and neck: which files belong together, in HaN-Seg's form, NIfTI folders, OpenKBP, or a CT alone.

===========  ==============================================  ===================================================
form         images of a case folder                         reference
===========  ==============================================  ===================================================
HaN-Seg      ``*_IMG_CT.nrrd``, ``*_IMG_MR_T1.nrrd``         ``*_OAR_<organ>.seg.nrrd``, one per organ
NIfTI        ``ct.*`` or the folder ``ct/`` of a DICOM       ``labels.*`` with ``labels.json``, which names the
             series; ``mr*.*`` or ``mr*/``                   contoured organs, or ``<organ>.*``
OpenKBP      ``ct.*``                                        ``oar.*`` (1 to 7), or another file of numbers of its own
alone        any volume or DICOM series                      none
===========  ==============================================  ===================================================

Further modalities are found as the MR is: ``pet*.*``, ``pet*/`` or ``*_IMG_PET*`` for one that is called "pet".
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .organs import OrganTable
from .shared.io.cases import find_cases, say_left_out, without_results
from .shared.io.errors import CaseError
from .shared.io.file_names import VOLUME_SUFFIXES, image_suffix, is_dicom, visible

MR = "mr"


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


def shows(path: Path, modality: str, han_seg: bool = False) -> bool:
    """Whether a file or folder is an image of a modality such as "mr", by its name."""
    if han_seg:
        return f"_IMG_{modality.upper()}" in path.name
    return stem(path).lower().split("_")[0] == modality


def organ_files(content: list[Path], names: dict[Path, str], table: OrganTable) -> dict[str, str]:
    """Name of the organ → path of its contours.

    Args:
        content: of the folder.
        names: of the structures that files hold.
        table: the organs that count.

    Raises:
        CaseError: for an organ that is not in the table, unless the table ignores these.
    """
    known = {names[path]: str(path) for path in content if names.get(path) in table.numbers}
    unknown = [path for path in content if path in names and names[path] not in table.numbers]
    if unknown and table.other_contours == "refuse":
        problem = f"names no organ of the table ({names[unknown[0]]})"
        raise CaseError(unknown[0], problem, "correct the name or remove the file")
    return known


def case_of_folder(folder: Path, table: OrganTable, modalities: Sequence[str] = ()) -> dict[str, Any] | None:
    """The case that a folder is, None where it is none.

    Returns:
        "case", "ct", and where they exist "mr" and the further ``modalities``, "organs" (name to path), or "labels"
        (path of a label map).

    Raises:
        CaseError: no CT beside other files of a case, two images of one kind, or contours of an unknown organ.
    """
    content = [path for path in visible(folder) if is_image(path)]
    label_maps = {"labels", *table.label_files}
    han_seg = [path for path in content if "_IMG_CT" in path.name]
    ct = only(han_seg or [path for path in content if stem(path).lower() == "ct"], "CT")
    if ct is None:
        if any("_OAR_" in path.name or "_IMG_" in path.name for path in content):
            raise CaseError(folder, "has no CT (*_IMG_CT.nrrd)", "download the case again")
        others = [path for path in content if path.is_file() and (shows(path, MR) or stem(path).lower() in label_maps)]
        if others:
            problem = f"holds {others[0].name}, but no CT to go with it"
            raise CaseError(folder, problem, "add the CT (ct.nii.gz), or move the file elsewhere")
        return None
    item: dict[str, Any] = {"case": folder.name, "ct": str(ct)}
    if han_seg:
        item["case"] = stem(ct).split("_IMG_CT")[0]
        names = {path: stem(path).split("_OAR_")[1] for path in content if "_OAR_" in path.name}
    else:
        names = {path: stem(path) for path in content if stem(path) in table.numbers}
    organs = organ_files(content, names, table)
    for modality in (MR, *modalities):
        image = only([path for path in content if shows(path, modality, bool(han_seg))], modality.upper())
        if image is not None:
            item[modality] = str(image)
    if organs:
        item["organs"] = organs
    maps = [path for path in content if path.is_file() and stem(path).lower() in label_maps]
    path = only(maps, "label map")
    if path is not None and not organs:
        item["labels"] = str(path)
    return item


def folder_case(folder: Path, table: OrganTable, modalities: Sequence[str]) -> dict[str, Any] | None:
    """:func:`case_of_folder`; a folder that is wrong is a case as well, with the reason under "problem".

    Reading it will fail, not the others.
    """
    try:
        return case_of_folder(folder, table, modalities)
    except CaseError as error:
        return {"case": folder.name, "ct": str(folder), "problem": (error.path, error.problem, error.advice)}


def holds_case_folder(folder: Path, table: OrganTable, modalities: Sequence[str]) -> bool:
    """Whether some folder below is a case."""
    folders = [path for path in visible(folder) if path.is_dir()]
    return any(
        folder_case(path, table, modalities) is not None or holds_case_folder(path, table, modalities)
        for path in folders
    )


def plain_cases(folder: Path) -> list[dict[str, Any]]:
    """The volumes of a folder without case folders, each a CT alone."""
    try:
        return [{"case": item["case"], "ct": item["image"]} for item in find_cases(folder, kind="volume")]
    except CaseError:
        return []  # holds none: no case is lost


def cases_below(folder: Path, table: OrganTable, modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Cases of a folder and of the folders below it; a volume that belongs to no case folder is a case of its own."""
    item = folder_case(folder, table, modalities)
    if item is not None:
        return [item]
    if not holds_case_folder(folder, table, modalities):
        return plain_cases(folder)
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    slices: list[Path] = []
    for path in without_results(visible(folder), left_out):
        if path.is_dir():
            found += cases_below(path, table, modalities)
        elif image_suffix(path) in VOLUME_SUFFIXES:
            found.append({"case": stem(path), "ct": str(path)})
        elif is_dicom(path):
            slices.append(path)
    if slices:
        problem = (str(folder), "holds DICOM files beside the folders of cases", "put each series into its own folder")
        found.append({"case": folder.name, "ct": str(folder), "problem": problem})
    say_left_out(folder, left_out)
    return found


def with_unique_names(cases: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """Cases of which those that share a name get the folders that lead to them as well, then their suffix."""

    def in_folders(case: dict[str, Any]) -> str:
        path = Path(case["ct"])
        own = path if stem(path) == case["case"] else path.parent
        return "_".join([*own.parent.relative_to(root).parts, case["case"]])

    for longer in (in_folders, lambda case: f"{case['case']}_{image_suffix(Path(case['ct']))[1:].replace('.', '_')}"):
        counts = Counter(case["case"] for case in cases)
        cases = [case if counts[case["case"]] == 1 else {**case, "case": longer(case)} for case in cases]
    counts = Counter(case["case"] for case in cases)
    return [
        case if counts[case["case"]] == 1 else {**case, "case": f"{case['case']}_{index}"}
        for index, case in enumerate(cases)
    ]


def find_han_cases(
    dataset_dir: str | os.PathLike,
    table: OrganTable,
    mr: str | os.PathLike | None = None,
    modalities: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Cases of a data set, in the order of their paths.

    Args:
        dataset_dir: a CT (file or DICOM folder), a case folder, or a folder of such.
        table: organs whose contours count.
        mr: the MR of the only case, where its file lies elsewhere.
        modalities: further ones that are looked for, such as "pet".

    Returns:
        dictionaries as :func:`case_of_folder` gives them; names of cases are unique.

    Raises:
        CaseError: when there is none.
    """
    root = Path(dataset_dir)
    found = with_unique_names(cases_below(root, table, modalities), root) if root.is_dir() else []
    if not found:
        found = [{"case": item["case"], "ct": item["image"]} for item in find_cases(root, kind="volume")]
    if mr is not None:
        if len(found) != 1:
            raise CaseError(mr, f"is one MR for {len(found)} cases", "give the CT that it belongs to")
        if not Path(mr).exists():
            raise CaseError(mr, "does not exist", "give the path of the MR")
        found[0]["mr"] = str(mr)
    return found
