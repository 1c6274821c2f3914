"""Distances between a found and a true camera pose, as the literature of 2-D/3-D registration reports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .confidence import mtre
from .shared.drr.geometry import Detector, invert_rigid, project_points
from .shared.drr.pose import double_geodesic
from .subject import Subject

SUCCESS_MM = (1.0, 2.0, 10.0)


def projection_error(subject: Subject, found: Tensor, true: Tensor, detector: Detector) -> float:
    """mPE [mm on the detector]: mean distance of the projected targets of the patient; NaN where none is in front."""
    pixels = [project_points(subject.targets, pose[None], detector)[0] for pose in (found, true)]
    offset = (pixels[0] - pixels[1]) * torch.tensor(detector.pixel_mm, dtype=torch.float64)
    seen = offset.isfinite().all(dim=-1)
    return float(offset[seen].norm(dim=-1).mean()) if bool(seen.any()) else float("nan")


def reprojection_distance(subject: Subject, found: Tensor, true: Tensor, detector: Detector) -> float:
    """mRPE [mm]: mean distance of the targets from the rays of their images at the found pose, both cameras aligned.

    It is what a single view can know: errors along the rays do not count.
    Reference: van de Kraats et al., IEEE Trans. Med. Imaging 24(9), 2005.
    """
    targets = torch.cat([subject.targets, torch.ones(len(subject.targets), 1, dtype=torch.float64)], dim=1)
    in_found, in_true = ((targets @ invert_rigid(pose).T)[:, :3] for pose in (found, true))
    direction = in_true / in_true.norm(dim=-1, keepdim=True)
    along = (in_found * direction).sum(-1, keepdim=True) * direction
    return float((in_found - along).norm(dim=-1).mean())


def pose_errors(subject: Subject, found: Tensor, true: Tensor, detector: Detector) -> dict[str, float]:
    """All errors of a pose (4, 4) [mm, degree].

    ``depth_mm`` is the error of the isocentre along the viewing direction.
    """
    error = mtre(subject, found, true)
    turn = invert_rigid(true)[:3, :3] @ found[:3, :3]
    skew = (turn - turn.T)[[2, 0, 1], [1, 2, 0]].norm() / 2
    centre = torch.cat([subject.isocenter, torch.ones(1, dtype=torch.float64)])
    depth = (invert_rigid(found) @ centre - invert_rigid(true) @ centre)[2]
    return {
        "mtre_mm": error,
        "mpe_mm": projection_error(subject, found, true, detector),
        "mrpe_mm": reprojection_distance(subject, found, true, detector),
        "double_geodesic_mm": float(double_geodesic(found, true, detector.sdd, subject.isocenter)[0]),
        "rotation_deg": float(torch.rad2deg(torch.atan2(skew, (turn.trace() - 1) / 2))),
        "depth_mm": float(depth.abs()),
        **{f"success_{radius:g}mm": float(error <= radius) for radius in SUCCESS_MM},
    }


def summarize(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Mean and median of each figure over the cases that have it; the rates of success as shares."""
    summary: dict[str, float] = {"cases": len(rows)}
    names = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    for name in sorted(names):
        values = np.array([row[name] for row in rows if isinstance(row.get(name), float)], dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        if name.startswith("success_"):
            summary[name] = float(values.mean())
        else:
            summary[f"{name}_mean"], summary[f"{name}_median"] = float(values.mean()), float(np.median(values))
    return summary
