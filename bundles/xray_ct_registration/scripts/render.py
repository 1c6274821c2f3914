"""High-quality renderings of a CT at the pose of a registration, for a detector of any size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .patient import PatientModel, reaching_detector
from .pose_file import read_pose
from .results import unit_range
from .shared.drr.geometry import Detector
from .shared.drr.rendering import BACKENDS, render
from .shared.io.errors import CaseError
from .shared.io.weights import read_tensors
from .simulate import write_png

SUPERSAMPLE_LIMIT = 2048  # pixels along a side that are rendered at most for one average


def read_result(path: str | os.PathLike) -> tuple[Tensor, Detector]:
    """Camera pose (4, 4) float64 [RAS mm] and detector from ``<case>_pose.json`` or ``parameters.pt``.

    Raises:
        CaseError: where the file is missing or of another kind.
    """
    if Path(path).suffix == ".json":
        pose, detector, _ = read_pose(path)
        return pose, detector
    content = read_tensors(path)
    try:
        rows, columns, du, dv, sdd, u, v = content["detector"][0].tolist()
        return content["camera_to_world"].double(), Detector(round(rows), round(columns), (du, dv), sdd, (u, v))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CaseError(path, "holds no pose", "give parameters.pt of a registration or <case>_pose.json") from error


def result_paths(path: str | os.PathLike) -> list[Path]:
    """The result itself, or every ``parameters.pt`` of a folder that `inference.json` has written.

    Raises:
        CaseError: where there is none.
    """
    root = Path(path)
    found = [root] if root.is_file() else sorted(root.glob("*/parameters.pt"))
    if not found:
        raise CaseError(root, "holds no results of a registration", "give parameters.pt, a pose file or their folder")
    return found


def case_of(path: Path) -> str:
    """Name of the case of a result."""
    return path.name.removesuffix("_pose.json") if path.suffix == ".json" else path.parent.name


def render_quality(
    patient: PatientModel, pose: Tensor, detector: Detector, supersample: int = 2, backend: str | None = None
) -> Tensor:
    """Rendering (rows, columns) with ``supersample`` squared rays per pixel."""
    largest = max(1, SUPERSAMPLE_LIMIT // max(detector.rows, detector.columns))
    rays = min(supersample, largest)
    fine = detector.resized(detector.rows * rays, detector.columns * rays)
    depth = float((pose[:3, 3] - patient.isocenter).norm()) + patient.radius_mm
    image = render(patient.attenuation, pose[None], reaching_detector(fine, depth), patient.affine, backend)
    return torch.nn.functional.avg_pool2d(image, rays)[0, 0]


def render_results(
    patient: PatientModel,
    pose_path: str | os.PathLike,
    output_dir: str | os.PathLike,
    size: Sequence[int] | None = None,
    pixel_spacing: float | Sequence[float] | None = None,
    supersample: int = 2,
    backend: str | None = None,
) -> list[Path]:
    """Write ``drr.png`` (16 bits) of each result.

    Args:
        patient: the CT.
        pose_path: ``parameters.pt``, ``<case>_pose.json``, or a folder of results.
        output_dir: a folder per case is made in it; that of the results themselves adds to them.
        size: (rows, columns); that of the X-ray by default. The same area is shown, unless a spacing is given.
        pixel_spacing: distance of rows and columns [mm], or one number.
        supersample: rays along each side of a pixel.
        backend: of the renderer.

    Raises:
        CaseError: where a result cannot be read, or the backend is unknown.
    """
    if backend is not None and backend not in BACKENDS:
        raise CaseError("--backend", f"is {backend}", f"choose one of {', '.join(BACKENDS)}")
    written = []
    for path in result_paths(pose_path):
        pose, detector = read_result(path)
        if size is not None:
            detector = detector.resized(int(size[0]), int(size[1]))
        if pixel_spacing is not None:
            row_mm, column_mm = np.broadcast_to(np.asarray(pixel_spacing, dtype=float), 2)
            detector = replace(detector, pixel_mm=(float(column_mm), float(row_mm)))
        image = render_quality(patient, pose, detector, supersample, backend)
        written.append(Path(output_dir) / case_of(path) / "drr.png")
        write_png(unit_range(image), written[-1])
    return written
