"""Coarse search over the whole pose space, for X-rays that no network knows.

The angles and the distance are taken from a grid. For each, one small DRR with a margin is rendered, and the X-ray is
slid over it: the shift with the best gradient correlation gives the two translations in the image plane, which
therefore need no grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .patient import PatientModel, render_patient
from .pose_space import PoseSpace
from .shared.drr.geometry import Detector, project_points
from .shared.drr.similarity import gradient_images
from .views import RadiographView

SEARCH_PX = 32  # longer side of the X-ray during the search
STEPS = (8.0, 8.0, 8.0, 70.0)  # of r1, r2, r3 [degree] and ty [mm]
BATCH = 64


def slide(rendered: Tensor, view: RadiographView, margin: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Best gradient NCC of a view over all shifts of larger renderings.

    Args:
        rendered: (B, 1, rows + 2 margin, columns + 2 margin).
        view: the X-ray, (1, 1, rows, columns).
        margin: (rows, columns) by which the rendering is larger at each side.

    Returns:
        correlation (B,) in [-1, 1] and position (B, 2) = (column, row) [pixel] at which the patch that looks like the
        X-ray starts, relative to the middle: how far the patient appears to be shifted in the rendering.
    """
    weight = view.mask[..., 1:-1, 1:-1]
    count = weight.sum()
    total = torch.zeros((), device=rendered.device)
    for template, image in zip(gradient_images(view.image), gradient_images(rendered), strict=True):
        centred = weight * (template - (weight * template).sum() / count)
        norm = (centred**2).sum()
        cross = F.conv2d(image, centred)
        mean = F.conv2d(image, weight)
        variance = F.conv2d(image**2, weight) - mean**2 / count
        floor = 1e-4 * image.var(dim=(1, 2, 3), keepdim=True) * count + 1e-12
        total = total + cross / (norm * variance.clamp(min=floor)).sqrt() / 2
    best, where = total.flatten(1).max(dim=1)
    columns = total.shape[-1]
    shift = torch.stack([where % columns - margin[1], where // columns - margin[0]], dim=-1)
    return best, shift.double()


def search(
    space: PoseSpace, patient: PatientModel, view: RadiographView, keep: int = 24, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """Pose parameters (keep, 6) that look best, and their gradient NCC (keep,), best first.

    Args:
        space: where to search.
        patient: the CT.
        view: one X-ray: that of the first camera.
        keep: how many.
        backend: of the renderer.
    """
    small = view.reduced(max(view.image.shape[-2:]) / SEARCH_PX)
    detector = small.detector
    grid = replace(space, range_mm=(0.0, space.range_mm[1], 0.0)).grid([*STEPS[:3], 1.0, STEPS[3], 1.0])
    coarse = patient.coarser(0.8 * max(detector.pixel_mm))
    nearest = max(1.0, space.distance_mm - space.range_mm[1])
    magnified = detector.sdd / nearest
    margin = (
        math.ceil(space.range_mm[2] * magnified / detector.pixel_mm[1]),
        math.ceil(space.range_mm[0] * magnified / detector.pixel_mm[0]),
    )
    wide = Detector(
        detector.rows + 2 * margin[0],
        detector.columns + 2 * margin[1],
        detector.pixel_mm,
        detector.sdd,
        detector.offset_mm,
    )
    found, scores = [], []
    for some in grid.split(BATCH):
        images = render_patient(coarse, space.to_pose(some, patient.isocenter), wide, backend)
        score, shift = slide(images, small, margin)
        found.append(moved(some, -shift.cpu(), space, patient, detector))
        scores.append(score.cpu())
    order = torch.cat(scores).argsort(descending=True)[:keep]
    return torch.cat(found)[order], torch.cat(scores)[order]


def moved(parameters: Tensor, shift: Tensor, space: PoseSpace, patient: PatientModel, detector: Detector) -> Tensor:
    """Parameters (B, 6) whose translations tx, tz let the isocentre appear ``-shift`` (B, 2) [pixel] further."""
    centre = patient.isocenter[None]

    def image_of(p: Tensor) -> Tensor:
        return project_points(centre, space.to_pose(p, patient.isocenter), detector)[:, 0]

    start = image_of(parameters)
    steps = []
    for axis in (3, 5):
        step = torch.zeros(6, dtype=torch.float64)
        step[axis] = 1.0
        steps.append(image_of(parameters + step) - start)
    jacobian = torch.stack(steps, dim=-1)
    result = parameters.clone()
    result[:, [3, 5]] += torch.linalg.solve(jacobian, shift)
    return result


def distinct(parameters: Tensor, keep: int, separation: Sequence[float] = (0.05, 5.0)) -> list[int]:
    """Indices of at most ``keep`` parameters (B, 6), best first, none close to an earlier one.

    Args:
        parameters: best first.
        keep: how many.
        separation: angle [rad] and distance [mm]; poses closer in all parameters count as one.
    """
    limits = torch.tensor([separation[0]] * 3 + [separation[1]] * 3, dtype=parameters.dtype)
    limits[4] *= 3  # the distance from the source shows least
    chosen: list[int] = []
    for index in range(len(parameters)):
        gaps = [((parameters[index] - parameters[other]).abs() / limits).max() for other in chosen]
        if all(float(gap) > 1 for gap in gaps):
            chosen.append(index)
        if len(chosen) == keep:
            break
    return chosen
