"""Distances between a found and a true camera pose, as the literature of 2-D/3-D registration reports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .patient import PatientModel
from .shared.drr.geometry import Detector, invert_rigid, project_points
from .shared.drr.pose import double_geodesic
from .shared.evaluation.point_metrics import image_errors

SUCCESS_MM = (1.0, 2.0, 10.0)


def mtre(patient: PatientModel, first: Tensor, second: Tensor) -> float:
    """Mean distance [mm] of the patient's targets as two cameras (4, 4) see them."""
    return float((patient.targets_in(first) - patient.targets_in(second)).norm(dim=-1).mean())


def projection_error(patient: PatientModel, found: Tensor, true: Tensor, detector: Detector) -> float:
    """mPE [mm on the detector]: mean distance of the projected targets of the patient; NaN where none is in front."""
    pixels = [project_points(patient.targets, pose[None], detector)[0] for pose in (found, true)]
    offset = (pixels[0] - pixels[1]) * torch.tensor(detector.pixel_mm, dtype=torch.float64)
    seen = offset.isfinite().all(dim=-1)
    return float(offset[seen].norm(dim=-1).mean()) if bool(seen.any()) else float("nan")


def reprojection_distance(patient: PatientModel, found: Tensor, true: Tensor, detector: Detector) -> float:
    """mRPE [mm]: mean distance of the targets from the rays of their images at the found pose, both cameras aligned.

    It is what a single view can know: errors along the rays do not count.
    Reference: van de Kraats et al., IEEE Trans. Med. Imaging 24(9), 2005.
    """
    in_found, in_true = patient.targets_in(found), patient.targets_in(true)
    direction = in_true / in_true.norm(dim=-1, keepdim=True)
    along = (in_found * direction).sum(-1, keepdim=True) * direction
    return float((in_found - along).norm(dim=-1).mean())


def pose_errors(patient: PatientModel, found: Tensor, true: Tensor, detector: Detector) -> dict[str, float]:
    """All errors of a pose (4, 4) [mm, degree].

    ``depth_mm`` is the error of the isocentre along the viewing direction.
    """
    error = mtre(patient, found, true)
    turn = invert_rigid(true)[:3, :3] @ found[:3, :3]
    skew = (turn - turn.T)[[2, 0, 1], [1, 2, 0]].norm() / 2
    centre = torch.cat([patient.isocenter, torch.ones(1, dtype=torch.float64)])
    depth = (invert_rigid(found) @ centre - invert_rigid(true) @ centre)[2]
    return {
        "mtre_mm": error,
        "mpe_mm": projection_error(patient, found, true, detector),
        "mrpe_mm": reprojection_distance(patient, found, true, detector),
        "double_geodesic_mm": float(double_geodesic(found, true, detector.sdd, patient.isocenter)[0]),
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


def success_rate(errors: Tensor | np.ndarray, radius_mm: float) -> float:
    """Share of the images of a table of errors (N, K) [mm] whose mean (mTRE) is at most ``radius_mm``."""
    means = image_errors(errors)
    return float(np.mean(means <= radius_mm)) if len(means) else float("nan")


def median_mtre(errors: Tensor | np.ndarray) -> float:
    """Median over the images of a table of errors (N, K) [mm] of their mean (mTRE)."""
    means = image_errors(errors)
    return float(np.median(means)) if len(means) else float("nan")


def case_mtre(item: Mapping[str, Any]) -> float:
    """mTRE [mm] of an item of the validation, by which the worst are chosen."""
    return float((item["points"] - item["reference"]).norm(dim=-1).mean())
