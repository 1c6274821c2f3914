"""Cases of this bundle: a frontal and a lateral X-ray of one patient."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .shared.io.dicom import read_header
from .shared.io.errors import CaseError
from .shared.io.file_names import PICTURE_SUFFIXES, VOLUME_SUFFIXES, image_suffix, is_dicom, visible

WORDS = {
    "frontal": ("frontal", "front", "pa", "ap"),
    "lateral": ("lateral", "lat", "side", "ll", "rl"),
}
POSITIONS = {"PA": "frontal", "AP": "frontal", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral"}  # DICOM
NAMES = "name them <case>_frontal and <case>_lateral, or put frontal and lateral into a folder per case"
ADVICE = f"give --dataset_dir a folder of X-rays (PNG, JPEG, DICOM, NIfTI …): {NAMES}"


def xrays_below(folder: Path) -> list[Path]:
    """Radiographs of a folder and of all folders in it."""
    files = []
    for path in visible(folder):
        if path.is_dir():
            files += xrays_below(path)
        elif image_suffix(path) in VOLUME_SUFFIXES | PICTURE_SUFFIXES or (path.name != "DICOMDIR" and is_dicom(path)):
            files.append(path)
    return files


def stem_of(path: Path) -> str:
    """Name of a file without its suffix."""
    return path.name[: len(path.name) - len(image_suffix(path))] or path.name


def view_word(path: Path) -> tuple[str, str] | None:
    """View that the end of a file's name says, and the rest of the name; None where it says none."""
    stem = stem_of(path)
    last = re.split(r"[_\-. ]+", stem)[-1]
    for view, words in WORDS.items():
        if last.lower() in words:
            return view, stem[: len(stem) - len(last)].rstrip("_-. ")
    return None


def view_of(path: Path) -> tuple[str | None, str]:
    """View that a file shows ("frontal", "lateral", None where unknown), and the name of its case ("" where none).

    The end of the name says it, else the view position of a DICOM header.
    """
    if word := view_word(path):
        return word
    if is_dicom(path):
        try:
            position = read_header(path, ["ViewPosition", "SOPClassUID", "Modality", "Rows"], True).get("ViewPosition")
        except CaseError:  # the message is for the time when it is read
            return None, stem_of(path)
        if view := POSITIONS.get(str(position or "").upper()):
            return view, ""
    return None, stem_of(path)


def find_pairs(dataset_dir: str | os.PathLike, lateral: str | os.PathLike | None = None) -> list[dict[str, str]]:
    """Cases of a folder, or of one file.

    Args:
        dataset_dir: folder that holds ``<case>_frontal.*`` and ``<case>_lateral.*``, or a folder of these two for each
            case; or one frontal X-ray, whose lateral one lies beside it by name.
        lateral: the lateral X-ray of that one file.

    Returns:
        One ``{"case", "image", "frontal", "lateral"}`` each: ``image`` is the frontal X-ray, or the lateral one where
        there is no other; a view that is missing is "".

    Raises:
        CaseError: where there is no such path or no X-ray in it.
    """
    root = Path(dataset_dir).expanduser()
    if not root.exists():
        raise CaseError(root, "no such file or folder", ADVICE)
    if root.is_file():
        return [pair_of_file(root, lateral)]
    if lateral is not None:
        raise CaseError("--lateral", "goes with one frontal X-ray", "give --dataset_dir that file")
    found: dict[tuple[Path, str], dict[str, str]] = {}
    for path in xrays_below(root):
        view, name = view_of(path)
        view = view or "frontal"
        # the second file of a view is a case of its own
        key = (path.parent, path.name if view in found.get((path.parent, name), {}) else name)
        found.setdefault(key, {})[view] = str(path)
    if not found:
        raise CaseError(dataset_dir, "holds no radiograph", ADVICE)
    names = unique_names([(folder, name or nameless(folder, pair)) for (folder, name), pair in found.items()], root)
    return [as_case(name, pair) for name, pair in zip(names, found.values(), strict=True)]


def pair_of_file(path: Path, lateral: str | os.PathLike | None) -> dict[str, str]:
    """The case of one frontal X-ray.

    Raises:
        CaseError: where the lateral X-ray that was named is not there.
    """
    view, name = view_of(path)
    name = name or path.resolve().parent.name
    if lateral is not None:
        if not Path(lateral).is_file():
            raise CaseError(lateral, "no such file", "give --lateral an X-ray")
        return as_case(name, {"frontal": str(path), "lateral": str(lateral)})
    beside = {view or "frontal": str(path)}
    for other in visible(path.resolve().parent):
        if other.is_file() and other != path.resolve() and image_suffix(other) in VOLUME_SUFFIXES | PICTURE_SUFFIXES:
            other_view, other_name = view_of(other)
            if other_view and other_view not in beside and (other_name or other.parent.name) == name:
                beside[other_view] = str(other)
    return as_case(name, beside)


def as_case(name: str, pair: dict[str, str]) -> dict[str, str]:
    """A case from the files of its views."""
    frontal, lateral = pair.get("frontal", ""), pair.get("lateral", "")
    return {"case": name, "image": frontal or lateral, "frontal": frontal, "lateral": lateral}


def nameless(folder: Path, pair: dict[str, str]) -> str:
    """Name of a case whose files do not bear one: that of the folder, or of its only file."""
    if len(pair) == 1 and view_word(Path(*pair.values())) is None:
        return stem_of(Path(*pair.values()))
    return folder.name


def unique_names(cases: list[tuple[Path, str]], root: Path) -> list[str]:
    """Names that differ: the folders are added where they coincide, then a number."""
    names = [name for _, name in cases]
    longer = ["_".join([*folder.relative_to(root).parts, name]) for folder, name in cases]
    names = [name if names.count(name) == 1 else full for name, full in zip(names, longer, strict=True)]
    return [name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names)]
