"""How well rendered and measured images agree: the objective of the registration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .local_poses import LocalPoses
from .patient import PatientModel, render_patient
from .pose_space import PoseSpace
from .shared.drr.similarity import gradient_ncc, multiscale_ncc
from .views import RadiographView, view_poses


def agreement(rendered: Tensor, view: RadiographView) -> Tensor:
    """0.5 multiscale NCC + 0.5 gradient NCC, (B,) in [-1, 1], of images (B, 1, rows, columns) with a view."""
    return 0.5 * multiscale_ncc(rendered, view.image, mask=view.mask) + 0.5 * gradient_ncc(
        rendered, view.image, mask=view.mask
    )


def pose_agreement(
    parameters: Tensor,
    space: PoseSpace | LocalPoses,
    patient: PatientModel,
    views: Sequence[RadiographView],
    backend: str | None = None,
) -> Tensor:
    """Mean `agreement` (B,) over the views of pose parameters (B, 6), differentiable."""
    poses = view_poses(space.to_pose(parameters, patient.isocenter), views)
    values = [
        agreement(render_patient(patient, pose, view.detector, backend), view)
        for pose, view in zip(poses, views, strict=True)
    ]
    return torch.stack(values).mean(0).to(parameters.dtype)
