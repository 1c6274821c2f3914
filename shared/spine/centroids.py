"""Files of body centres: the forms of the VerSe data sets, a plain list of names, and results of this project.

Inside the code a body centre is world RAS mm. Forms that are read:

* ``verse``: ``[{"direction": ["P", "I", "R"]}, {"label": 20, "X": …, "Y": …, "Z": …}, …]``, voxels of the image turned
  to that direction (the current VerSe form);
* ``verse20``: ``[{"label": …, "X": …, …}]`` in mm from the corner voxel, X from anterior, Y from superior, Z from left;
* ``verse19``: the same list, X from superior, Y from anterior, Z from right;
* ``names``: ``[{"name": "C1", "x": …, "y": …, "z": …}, …]``, world LPS mm (physical points of ITK);
* ``landmarks``: the ``<case>_landmarks.json`` of this project, world LPS mm.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from ..geometry.frames import axis_directions, lps_to_ras, ras_to_lps, transform_points
from ..io.atomic import atomic_path
from ..io.errors import CaseError
from .labels import SEGMENT_LABELS, SPINE_LABELS, SPINE_NAMES, craniocaudal_order

Form = Literal["verse", "verse20", "verse19", "names", "landmarks"]
# direction of the axes of the forms in mm: letters name where an axis runs to
CHALLENGE_AXES = {"verse20": ("P", "I", "R"), "verse19": ("I", "P", "L")}
ADVICE = "see the forms of centroid files in the model card"


def to_direction(affine: np.ndarray, shape: Sequence[int], direction: Sequence[str]) -> np.ndarray:
    """Affine (4, 4) from voxels of an image turned to a direction such as ("P", "I", "R") to RAS mm.

    Args:
        affine: of the image as it is, to RAS mm.
        shape: of the image as it is.
        direction: letter to which each axis runs.
    """
    own, wanted = nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(direction))
    turn = nib.orientations.ornt_transform(own, wanted)
    return np.asarray(affine, float) @ nib.orientations.inv_ornt_aff(turn, tuple(shape))


def normal_label(label: Any) -> int | None:
    """The official number of a label or name; S1 becomes the sacrum; None for what is no vertebra or sacrum."""
    if isinstance(label, str) and not label.strip().isdigit():
        name = label.strip()
        number = {**SPINE_LABELS, **SEGMENT_LABELS}.get(name, SPINE_LABELS.get(name.upper()))
    else:
        number = int(label)
    return number if number in SPINE_NAMES and number != SPINE_LABELS["coccyx"] else None


def form_of(path: str | os.PathLike, document: Any) -> Form:
    """Which form a document has.

    The two forms of the challenges look alike and differ in the axis that runs along the spine, along which the
    coordinates grow fastest with the label.

    Raises:
        CaseError: when it has none of the forms, or is a challenge form of fewer than two vertebrae.
    """
    if isinstance(document, dict) and isinstance(document.get("landmarks"), list):
        return "landmarks"
    if not isinstance(document, list) or not document or not all(isinstance(entry, dict) for entry in document):
        raise CaseError(path, "holds no list of body centres", ADVICE)
    if "direction" in document[0]:
        return "verse"
    if all("name" in entry and "x" in entry for entry in document):
        return "names"
    if not all({"label", "X", "Y", "Z"} <= entry.keys() for entry in document):
        raise CaseError(path, "has entries that are no body centres", ADVICE)
    known = {label: entry for entry in document if (label := normal_label(entry["label"])) is not None}
    labels = craniocaudal_order(known)
    if len(labels) < 2:
        raise CaseError(path, "gives one vertebra in mm without saying along which axes", "add a direction entry")
    run = [float(known[labels[-1]][axis]) - float(known[labels[0]][axis]) for axis in "XY"]
    return "verse19" if run[0] > run[1] else "verse20"


def read_centroids(
    path: str | os.PathLike, volume: MetaTensor | None = None, form: Form | None = None
) -> dict[int, np.ndarray]:
    """Body centres of a file.

    Args:
        path: JSON in one of the forms above.
        volume: (1, X, Y, Z) image with its affine; the VerSe forms count from its corner.
        form: taken from the content where None.

    Returns:
        label to (3,) RAS mm, from head to foot; S1 under the number of the sacrum, S2 and unknown numbers left out.

    Raises:
        CaseError: when the file is missing or of no known form, or needs an image and there is none.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(path, "no such file of body centres", "check the path") from error
    except ValueError as error:
        raise CaseError(path, "is no JSON", ADVICE) from error
    if form is not None and form not in get_args(Form):
        raise CaseError(path, f"form {form} is unknown", f"use one of {', '.join(get_args(Form))}")
    form = form or form_of(path, document)
    try:
        points = parse_points(document, form)
        direction = document[0]["direction"] if form == "verse" else CHALLENGE_AXES.get(form)
    except (KeyError, TypeError, ValueError) as error:
        raise CaseError(path, "has entries that are no body centres", ADVICE) from error
    if direction is not None:
        if volume is None:
            raise CaseError(path, "counts in voxels of an image", "give the image, or centres in world LPS mm")
        affine = np.asarray(volume.affine, dtype=float)
        matrix = to_direction(affine, volume.shape[1:], direction)
        if form != "verse":
            matrix[:3, :3] = axis_directions(matrix)
        points = {label: transform_points(matrix, point) for label, point in points.items()}
    else:
        points = {label: lps_to_ras(point) for label, point in points.items()}
    return {label: points[label] for label in craniocaudal_order(points)}


def parse_points(document: Any, form: Form) -> dict[int, np.ndarray]:
    """Coordinates (3,) of the entries of a document as they stand in it."""
    entries = document["landmarks"] if form == "landmarks" else document[1 if form == "verse" else 0 :]
    axes = "XYZ" if form.startswith("verse") else "xyz"
    found = {}
    for entry in entries:
        label = normal_label(entry["label"] if "label" in entry else entry["name"])
        point = np.array([entry[axis] for axis in axes], dtype=float)
        if not np.isfinite(point).all():
            raise ValueError(f"{entry} has coordinates that are not finite")
        if label is not None:
            found[label] = point
    return found


def _write(path: str | os.PathLike, document: list[dict[str, Any]]) -> None:
    text = "[\n " + ",\n ".join(json.dumps(entry, allow_nan=False) for entry in document) + "\n]\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_named_centroids(path: str | os.PathLike, points: Mapping[int, np.ndarray]) -> None:
    """Write body centres (RAS mm) as names with world LPS mm, from head to foot."""
    _write(
        path,
        [
            {"name": SPINE_NAMES[label]}
            | {axis: round(float(v), 3) for axis, v in zip("xyz", ras_to_lps(points[label]), strict=True)}
            for label in craniocaudal_order(points)
        ],
    )


def write_verse_centroids(
    path: str | os.PathLike,
    points: Mapping[int, np.ndarray],
    volume: MetaTensor,
    direction: Sequence[str] | None = None,
) -> None:
    """Write body centres (RAS mm) in the current VerSe form.

    Args:
        path: JSON.
        points: label to (3,).
        volume: (1, X, Y, Z) image in whose voxels they are given.
        direction: to which the image is turned; its own where None.
    """
    affine = np.asarray(volume.affine, dtype=float)
    axes = tuple(direction or nib.orientations.aff2axcodes(affine))
    inverse = np.linalg.inv(to_direction(affine, volume.shape[1:], axes))
    entries: list[dict[str, Any]] = [{"direction": list(axes)}]
    for label in craniocaudal_order(points):
        index = transform_points(inverse, points[label])
        entries.append({"label": label} | {axis: round(float(v), 3) for axis, v in zip("XYZ", index, strict=True)})
    _write(path, entries)
