"""The map between a CT and what preprocessing made of it: `<case>_transform.json`.

As a command: `python -m scripts.transform_file case_transform.json --points "[[10,20,30]]" [--to original]`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk

from .shared.engines.terminal import run_command
from .shared.geometry.frames import transform_points
from .shared.io.errors import CaseError
from .shared.io.json_files import write_json


def grid_values(image: sitk.Image) -> dict[str, list]:
    """Size, spacing, origin and direction (three rows) of an image."""
    return {
        "size": list(image.GetSize()),
        "spacing_mm": [round(value, 9) for value in image.GetSpacing()],
        "origin_lps_mm": [round(value, 9) for value in image.GetOrigin()],
        "direction": np.reshape(image.GetDirection(), (3, 3)).round(12).tolist(),
    }


def is_on_grid(image: sitk.Image, values: Mapping[str, Any]) -> bool:
    """Whether an image has the grid that :func:`grid_values` described, up to the precision of file formats."""
    own = grid_values(image)
    return all(
        np.shape(own[key]) == np.shape(values[key]) and np.allclose(own[key], values[key], atol=1e-3) for key in own
    )


def write_transform(path: str | os.PathLike, values: Mapping[str, Any], matrix: np.ndarray) -> None:
    """Write the transform of a case.

    Args:
        path: file.
        values: further entries: case, source, mirrored, steps, grids.
        matrix: (4, 4), original to preprocessed, LPS mm.
    """
    record = {
        **values,
        "frame": "LPS mm",
        "original_to_preprocessed": matrix.tolist(),
        "preprocessed_to_original": np.linalg.inv(matrix).tolist(),
    }
    write_json(path, record)


def read_transform(path: str | os.PathLike) -> dict[str, Any]:
    """A transform file; its two matrices as arrays (4, 4).

    Raises:
        CaseError: when it is none.
    """
    try:
        record = json.loads(Path(path).read_text())
        for key in ("original_to_preprocessed", "preprocessed_to_original"):
            record[key] = np.array(record[key], dtype=float).reshape(4, 4)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(path, "is no transform of a preprocessed CT", "give a file <case>_transform.json") from error
    return record


def convert_points(
    path: str | os.PathLike,
    points: Sequence[Sequence[float]],
    to: Literal["preprocessed", "original"] = "preprocessed",
) -> list[list[float]]:
    """Points of the original CT in the preprocessed one, or back.

    Args:
        path: `<case>_transform.json`.
        points: (N, 3) in LPS mm.
        to: "preprocessed" or "original".

    Returns:
        (N, 3) in LPS mm.

    Raises:
        CaseError: when the file is no transform, the points are none or the direction is unknown.
    """
    record = read_transform(path)
    keys = {"preprocessed": "original_to_preprocessed", "original": "preprocessed_to_original"}
    array = np.array(points, dtype=float)
    if to not in keys or array.ndim != 2 or array.shape[1] != 3:
        raise CaseError(
            path, "needs points and a direction", 'give --points "[[x,y,z], …]" and --to preprocessed or original'
        )
    return transform_points(record[keys[to]], array).tolist()


if __name__ == "__main__":
    run_command(convert_points)
