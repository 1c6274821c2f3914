"""A pose to begin with, from a file."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Transform
from torch import Tensor

from .landmark_start import ADVICE as PAIRS_ADVICE
from .landmark_start import landmark_start
from .radiographs import MIRRORS, rigid_problem
from .shared.io.errors import CaseError

ADVICE = 'give a <case>_pose.json, or JSON with the 4x4 matrix "camera_to_world" in RAS mm, or a folder of them'


def read_start(path: str | os.PathLike) -> Tensor:
    """Camera pose (4, 4) float64 [RAS mm] of a file that holds ``camera_to_world``, or the matrix alone.

    Raises:
        CaseError: where there is no such file, or no rigid matrix in it.
    """
    if not Path(path).is_file():
        raise CaseError(path, "no such start pose", ADVICE)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        matrix = content["camera_to_world"] if isinstance(content, dict) else content
        pose = torch.tensor(matrix, dtype=torch.float64).reshape(4, 4)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CaseError(path, "holds no start pose", ADVICE) from error
    problem = rigid_problem(pose)
    if problem and problem != MIRRORS:  # the pose of a picture that is shown mirrored
        raise CaseError(path, f"holds a start pose that {problem}", ADVICE)
    return pose


class LoadStart(Transform):
    """Adds ``start``, a camera pose (4, 4) of the first view, to the metadata of "image"; nothing where none is given.

    Args:
        start_pose: a file for all cases, or a folder with ``<case>_pose.json``, of which some may be missing.
        landmark_pairs: table of points in the CT and in the X-rays, from which a pose is computed instead; for all
            cases, or a folder with ``<case>_pairs.csv``.
        distance_mm: of the patient from the source, about.
    """

    def __init__(
        self,
        start_pose: str | os.PathLike | None = None,
        landmark_pairs: str | os.PathLike | None = None,
        distance_mm: float = 850.0,
    ) -> None:
        if landmark_pairs is not None and not Path(landmark_pairs).exists():
            raise CaseError(landmark_pairs, "no such table of landmarks", PAIRS_ADVICE)
        if start_pose is not None and not Path(start_pose).exists():
            raise CaseError(start_pose, "no such start pose", ADVICE)
        if start_pose is not None and landmark_pairs is not None:
            raise CaseError("--start_pose and --landmark_pairs", "are both given", "give one of them")
        self.path = None if start_pose is None else Path(start_pose)
        self.pairs = None if landmark_pairs is None else Path(landmark_pairs)
        self.distance_mm = distance_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        path, pairs = (self.of_case(one, str(data["case"])) for one in (self.path, self.pairs))
        meta = data["image"].meta
        if path is not None:
            meta["start"] = read_start(path)
        if pairs is not None:
            meta["start"] = landmark_start(pairs, meta["views"], self.distance_mm)
        return dict(data)

    def of_case(self, path: Path | None, case: str) -> Path | None:
        """The file of a case: the path itself, or in a folder the one that is named after the case."""
        if path is None or not path.is_dir():
            return path
        own = path / (f"{case}_pose.json" if path is self.path else f"{case}_pairs.csv")
        return own if own.is_file() else None
