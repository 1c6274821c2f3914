"""Cases of this bundle: a frontal and a lateral X-ray of one patient."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from .shared.io.cases import say_left_out, without_results
from .shared.io.dicom import read_header
from .shared.io.errors import CaseError
from .shared.io.file_names import image_stem, is_dicom, known_suffix, visible

WORDS = {
    "frontal": ("frontal", "front", "pa", "ap"),
    "lateral": ("lateral", "lat", "side", "ll", "rl"),
}
SEPARATORS = "_-. "
POSITIONS = {"PA": "frontal", "AP": "frontal", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral"}  # DICOM
NAMES = "name them <case>_frontal and <case>_lateral, or put frontal and lateral into a folder per case"
ADVICE = f"give --dataset_dir a folder of X-rays (PNG, JPEG, DICOM, NIfTI …): {NAMES}"


def is_xray(path: Path) -> bool:
    """Whether a file may be a radiograph, by its name or its content."""
    return path.is_file() and (known_suffix(path) != "" or (path.name != "DICOMDIR" and is_dicom(path)))


def xrays_below(folder: Path, left_out: list[str]) -> list[Path]:
    """Radiographs of a folder and of all folders in it; the names of results among them are added to ``left_out``."""
    files = []
    for path in without_results(visible(folder), left_out):
        if path.is_dir():
            files += xrays_below(path, left_out)
        elif is_xray(path):
            files.append(path)
    return files


def view_word(path: Path) -> tuple[str, str] | None:
    """View that a file's name says, and the rest of the name; None where it says none.

    The last word of the name that names a view counts: `p01_frontal`, `p01.frontal.v2`, `PA 17`.
    """
    stem = unicodedata.normalize("NFC", image_stem(path))  # some systems write ä as two signs
    for word in reversed(list(re.finditer(r"[^_\-. ]+", stem))):
        for view, words in WORDS.items():
            if word.group().lower() in words:
                before, after = stem[: word.start()].rstrip(SEPARATORS), stem[word.end() :]
                return view, before + after if before else after.lstrip(SEPARATORS)
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
            return None, image_stem(path)
        if view := POSITIONS.get(str(position or "").upper()):
            return view, ""
    return None, image_stem(path)


def study_of(path: Path) -> str:
    """The study that a DICOM file belongs to; "" for other files."""
    if not is_dicom(path):
        return ""
    tags = ["StudyInstanceUID", "SOPClassUID", "Modality", "Rows"]
    return str(read_header(path, tags, True).get("StudyInstanceUID") or "")


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
    found: dict[tuple[Path, str, str], list[tuple[str, Path]]] = {}
    left_out: list[str] = []
    for path in xrays_below(root, left_out):
        view, name = view_of(path)
        found.setdefault((path.parent, name, "" if name else study_of(path)), []).append((view or "frontal", path))
    say_left_out(root, left_out)
    if not found:
        raise CaseError(dataset_dir, "holds no radiograph", ADVICE)
    cases = [
        (folder, name or nameless(folder, pair), pair)
        for (folder, name, _), files in found.items()
        for pair in pairs_of(files)
    ]
    names = unique_names(cases, root)
    return [as_case(name, pair) for name, (_, _, pair) in zip(names, cases, strict=True)]


def pairs_of(files: list[tuple[str, Path]]) -> list[dict[str, str]]:
    """Files of one name, as pairs of a frontal and a lateral one.

    Where a view is there twice, files of the same suffix go together; what is left over is a case of its own.
    """
    views = [view for view, _ in files]
    if max(views.count(view) for view in WORDS) == 1:
        return [{view: str(path) for view, path in files}]
    by_suffix: dict[tuple[str, int], dict[str, str]] = {}
    for view, path in files:
        key = known_suffix(path), 0
        if view in by_suffix.get(key, {}):  # nothing says which of them belongs to the other view
            key = known_suffix(path), len(by_suffix)
        by_suffix.setdefault(key, {})[view] = str(path)
    return list(by_suffix.values())


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
    found = [(view or "frontal", path.resolve())]
    for other in without_results(visible(path.resolve().parent), []):
        if other != path.resolve() and is_xray(other):
            other_view, other_name = view_of(other)
            same_study = other_name != "" or study_of(other) == study_of(path)
            if other_view and same_study and (other_name or other.parent.name) == name:
                found.append((other_view, other))
    pair = next(pair for pair in pairs_of(found) if str(path.resolve()) in pair.values())
    return as_case(name, pair | {view or "frontal": str(path)})


def as_case(name: str, pair: dict[str, str]) -> dict[str, str]:
    """A case from the files of its views."""
    frontal, lateral = pair.get("frontal", ""), pair.get("lateral", "")
    return {"case": name, "image": frontal or lateral, "frontal": frontal, "lateral": lateral}


def nameless(folder: Path, pair: dict[str, str]) -> str:
    """Name of a case whose files do not bear one: that of the folder, or of its only file."""
    if len(pair) == 1 and view_word(Path(*pair.values())) is None:
        return image_stem(Path(*pair.values()))
    return folder.name


def unique_names(cases: list[tuple[Path, str, dict[str, str]]], root: Path) -> list[str]:
    """Names that differ: the folders are added where they coincide, then the suffix, then a number."""
    names = [name for _, name, _ in cases]
    folders = ["_".join([*folder.relative_to(root).parts, name]) for folder, name, _ in cases]
    suffixes = [known_suffix(Path(next(iter(pair.values()))))[1:].replace(".", "_") for _, _, pair in cases]
    names = [name if names.count(name) == 1 else full for name, full in zip(names, folders, strict=True)]
    longer = [f"{name}_{suffix}" if suffix else name for name, suffix in zip(names, suffixes, strict=True)]
    names = [name if names.count(name) == 1 else full for name, full in zip(names, longer, strict=True)]
    return [name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names)]
