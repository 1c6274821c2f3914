"""A pose to begin with from points that are known in the CT and in the X-rays (perspective-n-point)."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from .bone_search import camera_at, rotations
from .local_poses import local_poses
from .shared.drr.geometry import projection_matrix
from .shared.io.errors import CaseError
from .views import RadiographView, view_poses

ADVICE = "give a CSV file with the columns u, v (pixels of the X-ray), x, y, z (LPS mm of the CT) and, if needed, view"
STEP_DEG = 80.0  # between the rotations from which the solution is looked for
LEAST_POINTS = 4
WORST_SHARE = 0.1  # of their spread in the image: how far points may be off at most
GOOD_SHARE = 0.02  # likewise: no other solution is looked for


def read_pairs(path: str | os.PathLike, views: int) -> tuple[Tensor, Tensor, Tensor]:
    """View (N,), pixels (N, 2) and points (N, 3) [RAS mm] of a table of pairs.

    Raises:
        CaseError: where it is none, or has too few pairs.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        number = torch.tensor([int(row.get("view") or 0) for row in rows])
        pixels = torch.tensor([[float(row[name]) for name in ("u", "v")] for row in rows], dtype=torch.float64)
        points = torch.tensor([[float(row[name]) for name in ("x", "y", "z")] for row in rows], dtype=torch.float64)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CaseError(path, f"is no table of landmark pairs ({type(error).__name__}: {error})", ADVICE) from error
    if len(rows) < LEAST_POINTS:
        raise CaseError(path, f"holds {len(rows)} pairs of landmarks", f"give {LEAST_POINTS} or more")
    if int(number.min()) < 0 or int(number.max()) >= views:
        raise CaseError(path, f"names view {int(number.max())} of {views}", "count the views from 0")
    return number, pixels, points * torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)


def spread(pixels: Tensor) -> float:
    """Root mean square distance [pixel] of pixels (N, 2) from their middle."""
    return float((pixels - pixels.mean(dim=0)).square().sum(dim=-1).mean().sqrt())


def pose_of_pairs(
    number: Tensor, pixels: Tensor, points: Tensor, views: Sequence[RadiographView], distance_mm: float
) -> tuple[Tensor, float]:
    """Pose (4, 4) of the first camera that shows points at pixels, and the root mean square distance [pixel].

    Least squares from rotations all around, of which the best solution counts.

    Args:
        number: (N,) of the view.
        pixels: (N, 2).
        points: (N, 3) [RAS mm].
        views: whose geometry counts.
        distance_mm: of the points from the source, about.
    """
    centre = points.mean(dim=0)
    homogeneous = torch.cat([points, torch.ones(len(points), 1, dtype=torch.float64)], dim=1)
    before = torch.tensor([[0.0, 0.0, distance_mm]], dtype=torch.float64)
    best: tuple[Tensor, float] | None = None
    for start in camera_at(rotations(STEP_DEG), before, centre):
        space = local_poses(start, centre, 100.0)
        units = space.units

        def residuals(x: np.ndarray, space=space, units=units) -> np.ndarray:
            pose = space.to_pose((torch.from_numpy(x) * units)[None], centre)
            poses = view_poses(pose, views)
            matrices = torch.cat([projection_matrix(p, v.detector) for p, v in zip(poses, views, strict=True)])
            seen = torch.einsum("nij,nj->ni", matrices[number], homogeneous)
            depth = seen[:, 2:].clamp(min=1.0)  # behind the source: far outside of the picture, and no pole
            return (seen[:, :2] / depth - pixels).flatten().numpy()

        found = least_squares(residuals, np.zeros(6), max_nfev=40)
        error = float(np.sqrt(2 * found.cost / len(points)))
        if best is None or error < best[1]:
            best = space.to_pose((torch.from_numpy(found.x) * units)[None], centre)[0], error
        if best[1] < GOOD_SHARE * spread(pixels):
            break
    assert best is not None
    return best


def landmark_start(path: str | os.PathLike, views: Sequence[RadiographView], distance_mm: float) -> Tensor:
    """Pose (4, 4) of the first camera [RAS mm] from a table of landmark pairs.

    Raises:
        CaseError: where the table cannot be read, or no pose fits it.
    """
    number, pixels, points = read_pairs(path, len(views))
    pose, error = pose_of_pairs(number, pixels, points, views, distance_mm)
    if error > WORST_SHARE * spread(pixels):
        problem = f"holds landmarks that no pose brings nearer than {error:.0f} pixels"
        raise CaseError(Path(path), problem, "check their order, and that x, y, z are LPS mm of this CT")
    return pose
