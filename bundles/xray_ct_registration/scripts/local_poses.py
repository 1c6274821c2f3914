"""Poses about a given one: turns of the camera about the object, and shifts along its own axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .shared.drr.geometry import invert_rigid
from .shared.drr.pose import se3_exp
from .shared.geometry.frames import transform_points

SMALL = 0.01  # of the object's radius: a step of the refinement


@dataclass(frozen=True)
class LocalPoses:
    """Poses about ``base``; unlike the box of a `PoseSpace` they have no singular direction and no bounds.

    Parameters are a rotation vector [rad] that turns the camera about the object's centre, in world axes, and the
    camera's shift [mm] along its own axes (columns, viewing direction, rows).

    Attributes:
        base: (4, 4) float64 camera to world [RAS mm].
        radius_mm: of the object, about; a turn by a step moves its rim as far as a shift by a step.
        distance_mm: of the object from the source.
    """

    base: Tensor
    radius_mm: float
    distance_mm: float

    @property
    def units(self) -> Tensor:
        """Steps (6,) of the parameters that show about alike."""
        step = SMALL * self.radius_mm
        return torch.tensor([SMALL, SMALL, SMALL, step, 3 * step, step], dtype=torch.float64)

    def to_pose(self, parameters: Tensor, isocenter: Tensor) -> Tensor:
        """Camera poses (B, 4, 4) [RAS mm] of parameters (B, 6)."""
        still = torch.zeros_like(parameters[:, :3])
        turn = se3_exp(torch.cat([parameters[:, :3], still], dim=1))
        centre = isocenter.to(parameters)
        offset = centre - (turn[:, :3, :3] @ centre[:, None])[..., 0]
        about_centre = torch.cat([turn[:, :3, :3], offset[..., None]], dim=-1)
        about_centre = torch.cat([about_centre, turn[:, 3:]], dim=1)
        shift = torch.cat([still, parameters[:, [3, 5, 4]]], dim=1)
        return about_centre @ self.base.to(parameters) @ se3_exp(shift)

    def excess(self, parameters: Tensor) -> Tensor:
        """Zeros (B,): nothing lies outside."""
        return torch.zeros(len(parameters), dtype=torch.float64)


def local_poses(base: Tensor, isocenter: Tensor, radius_mm: float) -> LocalPoses:
    """`LocalPoses` about a camera pose (4, 4) that sees an object."""
    inverse = invert_rigid(base)
    distance = float(transform_points(inverse, isocenter)[2])
    return LocalPoses(base, radius_mm, max(distance, 1.0))
