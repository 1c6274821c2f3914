"""Landmarks that the user gives instead of the first two stages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from .shared.geometry.volume_box import file_name, volume_bounds
from .shared.io.errors import CaseError
from .shared.spine.centroids import read_centroids
from .shared.spine.labels import SPINE_NAMES, VERTEBRA_LABELS, craniocaudal_order
from .shared.spine.result_json import FRAME, landmark_entries

OUTSIDE_MM = 10.0  # how far outside of the CT a body centre may lie
NAMES = ("{case}_landmarks.json", "{case}_ctd.json", "{case}.json")


def landmark_file(landmarks: str | os.PathLike, case: str) -> Path:
    """The file of a case: the path itself, or a file in the folder that bears the case's name.

    Raises:
        CaseError: when there is none.
    """
    path = Path(landmarks).expanduser()
    if not path.is_dir():
        if not path.is_file():
            raise CaseError(path, "no such file of landmarks", "give --landmarks a JSON file, or a folder of them")
        return path
    for name in NAMES:
        if (path / name.format(case=case)).is_file():
            return path / name.format(case=case)
    raise CaseError(path, f"holds no landmarks of case {case}", f"name the file {case}_landmarks.json")


def given_points(landmarks: str | os.PathLike, case: str, volume: MetaTensor) -> dict[int, np.ndarray]:
    """Body centres (RAS mm) of a case that lie in its CT, from head to foot, the sacrum left out.

    Args:
        landmarks: file in one of the forms that :func:`~shared.spine.centroids.read_centroids` knows, or a folder.
        case: name.
        volume: the CT.

    Raises:
        CaseError: when there is no file, it cannot be read, or none of its points lies in the CT.
    """
    path = landmark_file(landmarks, case)
    points = read_centroids(path, volume)
    low, high = volume_bounds(volume)
    kept = {
        label: np.asarray(points[label], dtype=float)
        for label in craniocaudal_order(label for label in points if label in VERTEBRA_LABELS.values())
        if ((points[label] > low - OUTSIDE_MM) & (points[label] < high + OUTSIDE_MM)).all()
    }
    if not kept:
        names = ", ".join(SPINE_NAMES[label] for label in points) or "nothing"
        problem = f"gives {names}, none of which lies in {Path(file_name(volume)).name}"
        raise CaseError(path, problem, "give landmarks of this CT, in world LPS millimetres")
    return kept


def given_result(case: str, points: Mapping[int, np.ndarray], warnings: Sequence[str] = ()) -> dict[str, Any]:
    """``<case>_landmarks.json`` of landmarks that the user has given."""
    return {
        "case": case,
        "frame": FRAME,
        "landmarks": landmark_entries(points, dict.fromkeys(points, 1.0)),
        "level_uncertain": False,
        "source": "given landmarks",
        "warnings": list(warnings),
    }
