"""How well rendered and measured images agree: the objective of the registration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .pose_space import PoseSpace
from .shared.drr.similarity import gradient_ncc, multiscale_ncc
from .subject import Subject, render_subject
from .views import View, view_poses


def agreement(rendered: Tensor, view: View) -> Tensor:
    """0.5 multiscale NCC + 0.5 gradient NCC, (B,) in [-1, 1], of images (B, 1, rows, columns) with a view."""
    return 0.5 * multiscale_ncc(rendered, view.image, mask=view.mask) + 0.5 * gradient_ncc(
        rendered, view.image, mask=view.mask
    )


def pose_agreement(
    parameters: Tensor, space: PoseSpace, subject: Subject, views: Sequence[View], backend: str | None = None
) -> Tensor:
    """Mean `agreement` (B,) over the views of pose parameters (B, 6), differentiable."""
    poses = view_poses(space.to_pose(parameters, subject.isocenter), views)
    values = [
        agreement(render_subject(subject, pose, view.detector, backend), view)
        for pose, view in zip(poses, views, strict=True)
    ]
    return torch.stack(values).mean(0).to(parameters.dtype)
