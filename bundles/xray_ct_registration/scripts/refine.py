"""Refinement of a pose: Adam from coarse to fine, then a second-order method at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .local_poses import LocalPoses
from .patient import PatientModel
from .pose_space import PoseSpace
from .similarity import pose_agreement
from .views import RadiographView

STALLED, GAIN = 4, 1e-6
SCALE = 100.0  # makes the first step of BFGS, which is the gradient, about as long as a unit
VOXEL_PER_PIXEL = 0.7  # size of a voxel over that of a pixel, both where the patient is


@dataclass
class Trajectory:
    """Poses that a refinement has gone through.

    Attributes:
        parameters: (6,) float64 each.
        similarity: of each.
        factor: reduction of the image of each.
    """

    parameters: list[Tensor] = field(default_factory=list)
    similarity: list[float] = field(default_factory=list)
    factor: list[float] = field(default_factory=list)

    def add(self, parameters: Tensor, similarity: float, factor: float) -> None:
        self.parameters.append(parameters.detach().cpu().double().clone())
        self.similarity.append(float(similarity))
        self.factor.append(float(factor))


def at_level(
    patient: PatientModel, views: Sequence[RadiographView], factor: float, distance_mm: float
) -> tuple[PatientModel, list[RadiographView]]:
    """Views reduced by ``factor`` and the patient with voxels to match."""
    reduced = [view.reduced(factor) for view in views]
    pixel = min(min(view.detector.pixel_mm) * distance_mm / view.detector.sdd for view in reduced)
    return patient.coarser(VOXEL_PER_PIXEL * pixel), reduced


def climb(
    parameters: Tensor,
    space: PoseSpace | LocalPoses,
    patient: PatientModel,
    views: Sequence[RadiographView],
    factor: float,
    steps: int,
    backend: str | None = None,
    rate: float = 1.0,
    patience: int = 5,
    history: list[tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Adam on the similarity, several starts side by side, each with a plateau schedule of its own.

    Args:
        parameters: starts (B, 6).
        space: their meaning.
        patient: the CT.
        views: radiographs, in full resolution.
        factor: reduction of the images.
        steps: at most; it ends where all learning rates have fallen below 2 % of the first.
        backend: of the renderer.
        rate: first learning rate, in units of the space.
        patience: steps without a better value after which a start's rate is halved.
        history: gets parameters (B, 6) and similarities (B,) of each step.

    Returns:
        best parameters (B, 6) float64 and their similarities (B,) float64, in the order of the starts.
    """
    coarse, reduced = at_level(patient, views, factor, space.distance_mm)
    units = space.units
    best, start = parameters.detach().double().clone(), parameters.detach().double()
    best_value = torch.full((len(start),), -torch.inf, dtype=torch.float64)
    x = torch.zeros_like(start)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    rates = torch.full((len(x), 1), rate, dtype=torch.float64)
    waited = torch.zeros(len(x), dtype=torch.long)
    for step in range(1, steps + 1):
        x.requires_grad_(True)
        values = pose_agreement(start + x * units, space, coarse, reduced, backend)
        (gradient,) = torch.autograd.grad(-values.sum(), x)
        x = x.detach()
        now, value = start + x * units, values.detach().cpu().double()
        better = value > best_value
        best[better], best_value[better] = now[better], value[better]
        if history is not None:
            history.append((now, value))
        waited = torch.where(better, 0, waited + 1)
        rates[waited >= patience] /= 2
        waited[waited >= patience] = 0
        if float(rates.max()) < 0.02 * rate:
            break
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        x = x - rates * (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-12)
    return best, best_value


class _Enough(Exception):
    """Ends a minimisation from within."""


def polish(
    parameters: Tensor,
    space: PoseSpace | LocalPoses,
    patient: PatientModel,
    views: Sequence[RadiographView],
    factor: float = 1.0,
    evaluations: int = 20,
    backend: str | None = None,
    trajectory: Trajectory | None = None,
) -> tuple[Tensor, float, float]:
    """BFGS on the similarity from one pose.

    It ends after ``evaluations`` renderings, or earlier when the last `STALLED` ones have not brought `GAIN`: beyond
    that, the search follows the rounding of float32.

    Args:
        parameters: start (6,).
        space: its meaning.
        patient: the CT.
        views: radiographs.
        factor: reduction of the images.
        evaluations: of the similarity and its gradient, at most.
        backend: of the renderer.
        trajectory: notes the way.

    Returns:
        best parameters (6,) float64, similarity, and the norm of its gradient there per unit of the space.
    """
    level, reduced = at_level(patient, views, factor, space.distance_mm)
    units = space.units
    start = parameters.detach().double()
    values: list[float] = []
    best = (start, -np.inf, np.inf)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        point = torch.from_numpy(np.array(x)).requires_grad_(True)
        value = pose_agreement((start + point * units)[None], space, level, reduced, backend)[0]
        (gradient,) = torch.autograd.grad(value, point)
        found = float(value.detach())
        now = (start + point.detach() * units, found, float(gradient.norm()))
        if trajectory is not None:
            trajectory.add(now[0], found, factor)
        if found > best[1]:
            best = now
        values.append(found)
        stalled = len(values) > STALLED and max(values) < max(values[:-STALLED]) + GAIN
        if len(values) >= evaluations or stalled:
            raise _Enough
        return -SCALE * found, -SCALE * gradient.numpy()

    with suppress(_Enough):
        minimize(loss, np.zeros(6), jac=True, method="BFGS", options={"gtol": SCALE * 1e-5})
    return best
