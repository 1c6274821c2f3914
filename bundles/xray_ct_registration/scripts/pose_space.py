"""Where the camera may stand: ranges of the pose parameters, random and regular poses in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .shared.drr.pose import euler_to_pose, pose_to_euler


@dataclass(frozen=True)
class PoseSpace:
    """A box of poses about a standard view.

    Angles turn the camera about the isocentre, ``R = Rz(r1) Rx(r2) Ry(r3)``: r1 is the longitude (LAO, RAO), r2 the
    tilt (cranial, caudal), r3 the turn of the image. The translation (tx, ty, tz) is the source's place before the
    turn, ty its distance from the isocentre.

    Attributes:
        view: "AP", or "PA" for images that are shown mirrored.
        center_deg: middle of (r1, r2, r3) [degree]; r1 = 90 is a lateral view from the patient's left side.
        range_deg: half widths [degree].
        center_mm: middle of (tx, ty, tz) [mm].
        range_mm: half widths [mm].
    """

    view: str = "AP"
    center_deg: Sequence[float] = (0.0, 0.0, 0.0)
    range_deg: Sequence[float] = (30.0, 15.0, 25.0)
    center_mm: Sequence[float] = (0.0, 850.0, 0.0)
    range_mm: Sequence[float] = (50.0, 100.0, 50.0)

    @property
    def middle(self) -> Tensor:
        """Middle (6,) float64: three angles [rad], three distances [mm]; ty is positive in front, negative behind."""
        angles = [math.radians(a) for a in self.center_deg]
        sign = -1 if self.view == "PA" else 1
        return torch.tensor([*angles, self.center_mm[0], sign * self.center_mm[1], self.center_mm[2]]).double()

    @property
    def distance_mm(self) -> float:
        """Of the isocentre from the source, in the middle of the box [mm]."""
        return abs(float(self.center_mm[1]))

    @property
    def half_width(self) -> Tensor:
        """Half widths (6,) float64 [rad, mm]."""
        return torch.tensor([*[math.radians(a) for a in self.range_deg], *self.range_mm]).double()

    @property
    def units(self) -> Tensor:
        """Steps (6,) [rad, mm] of the refinement: learning rates, and the scale of all parameters."""
        return torch.tensor([0.01, 0.01, 0.01, 1.0, 1.0, 1.0], dtype=torch.float64)

    def to_pose(self, parameters: Tensor, isocenter: Tensor) -> Tensor:
        """Camera poses (B, 4, 4) [RAS mm] of parameters (B, 6) [rad, mm]."""
        return euler_to_pose(parameters[:, :3], parameters[:, 3:], self.view, isocenter)

    def to_parameters(self, camera_to_world: Tensor, isocenter: Tensor) -> Tensor:
        """Parameters (B, 6) [rad, mm] of camera poses (B, 4, 4)."""
        return torch.cat(pose_to_euler(camera_to_world, self.view, isocenter), dim=-1)

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Parameters (count, 6), uniform in the box."""
        share = 2 * torch.rand(count, 6, generator=generator, dtype=torch.float64) - 1
        return self.middle + share * self.half_width

    def grid(self, steps: Sequence[float]) -> Tensor:
        """Parameters (N, 6) of a regular grid.

        Args:
            steps: largest distance of neighbours along each parameter [degree, mm]; a parameter whose range is at most
                half of it has its middle alone.
        """
        axes = []
        widths = [*self.range_deg, *self.range_mm]
        for middle, half, width, step in zip(self.middle, self.half_width, widths, steps, strict=True):
            count = max(1, math.ceil(2 * width / step - 1e-9))
            # centres of equal cells: none lies on the rim, where half of what it stands for would be out of range
            axes.append([float(middle + half * ((2 * k + 1) / count - 1)) for k in range(count)])
        return torch.tensor(list(itertools.product(*axes)), dtype=torch.float64)

    def excess(self, parameters: Tensor) -> Tensor:
        """How far (B,) parameters (B, 6) lie outside, as a share of the half widths; 0 inside the box."""
        width = self.half_width.clamp(min=1e-6)
        return (((parameters - self.middle).abs() - width) / width).clamp(min=0).amax(dim=-1)
