"""Registration of one bone: the score counts around its shadow alone, and all lengths derive from its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .bone_search import even_contrast, search_bone
from .local_poses import local_poses
from .metrics import mtre
from .patient import PatientModel, render_patient
from .refine import Trajectory, at_level, climb, polish
from .silhouette import MARGIN_PX, around_shadow, shadow
from .views import RadiographView, view_poses

MARGIN_SHARE = 0.06  # of the length of the shadow: surroundings that count, but at most `MARGIN_PX`
LEAST_MARGIN_PX = 3


@dataclass(frozen=True)
class BoneSchedule:
    """How the pose of a bone is refined.

    Attributes:
        starts: poses of the search that are refined.
        levels: pixels on the detector per bone length, and steps: Adam at the first ``climbs`` levels, then BFGS.
        climbs: how many levels are climbed by Adam.
        keep: poses that go on after each level.
    """

    starts: int = 40
    levels: Sequence[tuple[int, int]] = ((32, 12), (64, 20), (128, 16), (256, 16), (400, 16))
    climbs: int = 2
    keep: Sequence[int] = (16, 6, 3, 2, 2)


@dataclass(frozen=True)
class PoseCandidate:
    """A pose on its way.

    Attributes:
        pose: (4, 4) camera to world of the first view [RAS mm].
        similarity: around its shadow at the last level; -1 where it cannot be seen.
        start: (4, 4), where it began.
        gradient: norm of the gradient of the similarity per step.
        trajectory: poses and similarities so far.
    """

    pose: Tensor
    similarity: float
    start: Tensor
    gradient: float
    trajectory: tuple[tuple[Tensor, float, float], ...] = ()


def seen_at(
    pose: Tensor, patient: PatientModel, views: Sequence[RadiographView], margin_px: int, backend: str | None
) -> list[RadiographView] | None:
    """Views cut down to the bone's shadow at a pose (4, 4); None where one of them does not show it."""
    cut = []
    with torch.no_grad():
        for view, one in zip(views, view_poses(pose[None], views), strict=True):
            near = around_shadow(view, render_patient(patient, one, view.detector, backend), margin_px)
            if near is None:
                return None
            cut.append(near)
    return cut


def shadow_seen(
    pose: Tensor, patient: PatientModel, views: Sequence[RadiographView], backend: str | None = None
) -> float:
    """Share of the bone's shadow at a pose (4, 4) that is exposed, in the view that shows least of it."""
    shares = []
    for view, one in zip(views, view_poses(pose[None], views), strict=True):
        small = view.reduced(max(1.0, 2 * patient.extent_mm / max(view.detector.pixel_mm) / 64))
        seen = shadow(render_patient(patient, one, small.detector, backend))
        shares.append(float((seen * small.mask).sum() / seen.sum().clamp(min=1)))
    return min(shares)


def advance(
    candidate: PoseCandidate,
    patient: PatientModel,
    views: Sequence[RadiographView],
    factor: float,
    steps: int,
    margin_px: int,
    by_adam: bool,
    backend: str | None,
) -> PoseCandidate:
    """A candidate after a level, the shadow looked for again half-way.

    Args:
        candidate: before.
        patient: the bone.
        views: X-rays, reduced by ``factor``.
        factor: of the level.
        steps: of the refinement.
        margin_px: around the shadow that counts.
        by_adam: or by BFGS.
        backend: of the renderer.
    """
    radius = patient.extent_mm
    for share in (0.5, 0.5):
        space = local_poses(candidate.pose, patient.isocenter, radius)
        level, _ = at_level(patient, views, 1.0, space.distance_mm)
        near = seen_at(candidate.pose, level, views, margin_px, backend)
        if near is None:
            return PoseCandidate(candidate.pose, -1.0, candidate.start, float("inf"), candidate.trajectory)
        start, count = torch.zeros(1, 6, dtype=torch.float64), max(2, round(share * steps))
        notes = Trajectory()
        if by_adam:
            history: list[tuple[Tensor, Tensor]] = []
            found, values = climb(start, space, level, near, 1.0, count, backend, history=history)
            best, value, gradient = found[0], float(values[0]), float("inf")
            for parameters, similarity in history:
                notes.add(parameters[0], float(similarity[0]), factor)
        else:
            best, value, gradient = polish(start[0], space, level, near, 1.0, count, backend, notes)
        way = space.to_pose(torch.stack(notes.parameters), patient.isocenter)
        steps_made = tuple(zip(way, notes.similarity, notes.factor, strict=True))
        pose = space.to_pose(best[None], patient.isocenter)[0]
        candidate = PoseCandidate(pose, value, candidate.start, gradient, (*candidate.trajectory, *steps_made))
    return candidate


def apart(
    candidates: Sequence[PoseCandidate], patient: PatientModel, keep: int, least_mm: float
) -> list[PoseCandidate]:
    """At most ``keep`` candidates, best first, each at least ``least_mm`` (mTRE) from all better ones."""
    chosen: list[PoseCandidate] = []
    for one in sorted(candidates, key=lambda c: -c.similarity):
        if all(mtre(patient, one.pose, other.pose) > least_mm for other in chosen):
            chosen.append(one)
        if len(chosen) == keep:
            break
    return chosen


def bone_candidates(
    patient: PatientModel,
    views: Sequence[RadiographView],
    distance_mm: float,
    schedule: BoneSchedule,
    start: Tensor | None = None,
    backend: str | None = None,
) -> list[PoseCandidate]:
    """Refined poses of a bone, best first.

    Args:
        patient: the bone.
        views: all X-rays.
        distance_mm: of the bone from the source, where a single view is searched.
        schedule: how thoroughly.
        start: pose (4, 4) to begin at; rotations about it are searched as well.
        backend: of the renderer.
    """
    poses, _ = search_bone(patient, views, distance_mm, schedule.starts, start, backend=backend)
    starts = list(poses) if start is None else [start.double(), *poses]
    candidates = [PoseCandidate(pose, 0.0, pose, float("inf")) for pose in starts]
    distance = local_poses(starts[0], patient.isocenter, 1.0).distance_mm
    for number, ((pixels, steps), keep) in enumerate(zip(schedule.levels, schedule.keep, strict=True)):
        first = views[0].detector
        pixel = 2 * patient.extent_mm * first.sdd / distance / pixels
        factor = max(1.0, pixel / max(first.pixel_mm))
        margin = min(MARGIN_PX, max(LEAST_MARGIN_PX, round(MARGIN_SHARE * pixels)))
        reduced = [view.reduced(factor) for view in views]
        if not number:  # this level ranks what the search has proposed, on pictures like those of the search
            reduced = [replace(view, image=even_contrast(view)) for view in reduced]
        by_adam = number < schedule.climbs
        candidates = [advance(one, patient, reduced, factor, steps, margin, by_adam, backend) for one in candidates]
        kept = apart(candidates, patient, keep, 0.02 * patient.extent_mm)
        if start is not None and all(one.start is not starts[0] for one in kept):
            kept += [one for one in candidates if one.start is starts[0]]  # coarse levels must not decide against it
        candidates = kept
    return sorted(candidates, key=lambda one: -one.similarity)
