"""`<case>_pose.json`: a camera pose with its projection, readable by other programs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .shared.drr.geometry import Detector, projection_matrix
from .shared.io.errors import CaseError

FRAMES = {
    "world": "RAS mm",
    "camera": "origin in the source, x along columns, y along rows, z towards the detector, mm",
    "pixel": "u = column, v = row, centre of the first pixel = 0, 0",
}


def pose_content(case: str, camera_to_world: Tensor, detector: Detector, **more: Any) -> dict[str, Any]:
    """Content of the file.

    Args:
        case: name.
        camera_to_world: (4, 4) [RAS mm].
        detector: the detector, in pixels of the image file.
        more: further entries.
    """
    pose = camera_to_world.detach().cpu().double()
    return {
        "case": case,
        "frames": FRAMES,
        "camera_to_world": pose.tolist(),
        "intrinsics": detector.intrinsics().tolist(),
        "projection_matrix": projection_matrix(pose, detector)[0].tolist(),
        "sdd": detector.sdd,
        "detector": {name: value for name, value in detector.to_dict().items() if name != "sdd"},
        **more,
    }


def read_pose(path: str | os.PathLike) -> tuple[Tensor, Detector, dict[str, Any]]:
    """Camera pose (4, 4) float64 [RAS mm], detector and the whole content of such a file.

    Raises:
        CaseError: where the file is missing or no pose.
    """
    advice = "give a pose file that the registration has written"
    if not Path(path).is_file():
        raise CaseError(path, "no such pose file", advice)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        pose = torch.tensor(content["camera_to_world"], dtype=torch.float64).reshape(4, 4)
        detector = Detector.from_dict({**content["detector"], "sdd": content["sdd"]})
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(path, f"is no pose file ({type(error).__name__}: {error})", advice) from error
    return pose, detector, content
