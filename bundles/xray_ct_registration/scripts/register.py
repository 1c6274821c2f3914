"""Registration of the X-rays of a patient to the CT: starts, refinement, confidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .bone_registration import BoneSchedule, bone_candidates, shadow_seen
from .confidence import AcceptanceLimits, Confidence, disagreement, judge
from .contrast import contrast_curve
from .metrics import mtre
from .multistart import distinct, search
from .network_io import decode, network_input
from .patient import PatientModel, render_patient
from .pose_space import PoseSpace
from .refine import Trajectory, at_level, climb, polish
from .shared.drr.geometry import Detector
from .views import RadiographView, view_poses


@dataclass(frozen=True)
class Schedule:
    """How a registration is run.

    Attributes:
        starts: poses of the coarse search that are refined.
        coarse: reduction of the image for all starts, and steps of Adam.
        middle: the same for the distinct best of them.
        keep: how many those are.
        settle: evaluations of BFGS for each of them at that reduction.
        fine: the same for the best of these, by BFGS.
        spread: starts about the network's answer, itself included.
        spread_deg: their standard deviation [degree].
        spread_mm: their standard deviation [mm], three times that along the ray.
        pixel_mm: pixels are not made finer than this [mm on the detector]; a larger detector is reduced at once.
    """

    starts: int = 16
    coarse: tuple[float, int] = (6.0, 24)
    middle: tuple[float, int] = (3.0, 24)
    keep: int = 3
    settle: int = 12
    fine: Sequence[tuple[float, int]] = ((2.0, 16), (1.0, 8))
    spread: int = 8
    spread_deg: float = 5.0
    spread_mm: float = 8.0
    pixel_mm: float = 1.0


@dataclass(frozen=True)
class Registration:
    """Result of a registration.

    Attributes:
        parameters: (6,) float64 [rad, mm].
        initial: (6,), where the refinement began.
        camera_to_world: (4, 4) float64 of the first view [RAS mm].
        initial_camera_to_world: (4, 4) float64.
        similarity: of the final pose at the finest level.
        start: "network" or "multistart".
        confidence: the verdict.
        trajectory: of the refinement.
        trajectory_poses: (T, 4, 4) its camera poses [RAS mm].
        seconds: of the whole.
    """

    parameters: Tensor
    initial: Tensor
    camera_to_world: Tensor
    initial_camera_to_world: Tensor
    similarity: float
    start: str
    confidence: Confidence
    trajectory: Trajectory = field(repr=False)
    trajectory_poses: Tensor = field(repr=False)
    seconds: float = 0.0


def working_views(views: Sequence[RadiographView], pixel_mm: float) -> list[RadiographView]:
    """Views whose pixels are no smaller than about ``pixel_mm``, the level at which factors count from 1."""
    return [view.reduced(max(1.0, pixel_mm / min(view.detector.pixel_mm))) for view in views]


def network_starts(
    network: Callable[[Tensor], Tensor],
    view: RadiographView,
    trained: Detector,
    space: PoseSpace,
    schedule: Schedule,
    seed: int,
) -> Tensor:
    """Parameters (spread, 6): the network's answer first, then random ones about it."""
    with torch.no_grad():
        answer = decode(network(network_input(view.image, view.mask, view.detector, trained)), space)[0].cpu()
    generator = torch.Generator().manual_seed(seed)
    sigma = torch.tensor([schedule.spread_deg * torch.pi / 180] * 3 + [schedule.spread_mm] * 3, dtype=torch.float64)
    sigma[4] *= 3
    noise = torch.randn(schedule.spread, 6, generator=generator, dtype=torch.float64)
    noise[0] = 0
    return answer + noise * sigma


def matched_views(
    parameters: Tensor,
    space: PoseSpace,
    patient: PatientModel,
    views: Sequence[RadiographView],
    factor: float,
    backend: str | None,
) -> list[RadiographView]:
    """Views, each with the contrast curve that fits best at a pose (6,), found on images reduced by ``factor``."""
    level, reduced = at_level(patient, views, factor, space.distance_mm)
    matched = []
    with torch.no_grad():
        poses = view_poses(space.to_pose(parameters[None], patient.isocenter), reduced)
        for view, small, pose in zip(views, reduced, poses, strict=True):
            curve = contrast_curve(small, render_patient(level, pose, small.detector, backend))
            matched.append(view if curve is None else curve(view))
    return matched


def refine_starts(
    starts: Tensor,
    kind: str,
    space: PoseSpace,
    patient: PatientModel,
    views: Sequence[RadiographView],
    schedule: Schedule,
    limits: AcceptanceLimits,
    backend: str | None,
) -> Registration:
    """Registration from several starts (B, 6)."""
    history: list[tuple[Tensor, Tensor]] = []
    found, values = climb(starts, space, patient, views, *schedule.coarse, backend, history=history)
    order = values.argsort(descending=True)
    chosen = order[distinct(found[order], schedule.keep)]
    later: list[tuple[Tensor, Tensor]] = []
    found, _ = climb(found[chosen], space, patient, views, *schedule.middle, backend, history=later)
    level = schedule.middle[0]
    # all of them to the end, or starts on their way to the same pose would count as disagreeing
    ends = [
        polish(
            one,
            space,
            patient,
            matched_views(one, space, patient, views, level, backend),
            level,
            schedule.settle,
            backend,
        )
        for one in found
    ]
    found, values = torch.stack([end[0] for end in ends]), torch.tensor([end[1] for end in ends], dtype=torch.float64)
    order = values.argsort(descending=True)
    winner = int(order[0])
    trajectory = Trajectory()
    for steps, index, factor in (
        (history, int(chosen[winner]), schedule.coarse[0]),
        (later, winner, schedule.middle[0]),
    ):
        for points, similarities in steps:
            trajectory.add(points[index], float(similarities[index]), factor)
    initial = starts[int(chosen[winner])].double()
    found, values = found[order], values[order]
    best = found[0]
    similarity, gradient = float(values[0]), 0.0
    matched = matched_views(best, space, patient, views, level, backend)
    for stage in schedule.fine:
        best, similarity, gradient = polish(best, space, patient, matched, *stage, backend, trajectory)
    if kind == "given":  # a right start is not left for a worse pose
        near = matched_views(initial, space, patient, views, level, backend)
        here = polish(initial, space, patient, near, schedule.fine[-1][0], 1, backend)
        if here[1] > similarity:
            best, similarity, gradient = here
            found, values = best[None], torch.tensor([similarity], dtype=torch.float64)
    figures = {
        "similarity": float(values[0]),
        "disagreement_mm": disagreement(best, found, values, patient, space, limits.margin),
        "gradient": gradient,
        "excess": float(space.excess(best[None])[0]),
        "exposed": min(float(view.mask.mean()) for view in views),
    }
    poses = space.to_pose(torch.stack([best, initial]), patient.isocenter)
    way = space.to_pose(torch.stack(trajectory.parameters), patient.isocenter)
    verdict = judge(figures, limits)
    return Registration(best, initial, poses[0], poses[1], similarity, kind, verdict, trajectory, way)


def is_single_bone(
    patient: PatientModel, views: Sequence[RadiographView], distance_mm: float, wanted: bool | str
) -> bool:
    """Whether a patient is a bone whose whole shadow is looked for; "auto" where it is alone and fits the detectors."""
    if wanted != "auto":
        return bool(wanted)
    detectors = [view.detector for view in views]
    sides = [min(d.columns * d.pixel_mm[0], d.rows * d.pixel_mm[1]) for d in detectors]
    magnified = [2 * patient.extent_mm * d.sdd / distance_mm for d in detectors]
    return patient.alone and all(length < side for length, side in zip(magnified, sides, strict=True))


def register_bone(
    patient: PatientModel,
    views: Sequence[RadiographView],
    space: PoseSpace,
    limits: AcceptanceLimits,
    start: Tensor | None,
    backend: str | None,
) -> Registration:
    """Registration of one bone, see `bone_registration`."""
    found = bone_candidates(patient, views, space.distance_mm, BoneSchedule(), start, backend)
    best = found[0]
    bar = best.similarity - limits.bone_margin
    rivals = [mtre(patient, best.pose, one.pose) for one in found if one.similarity >= bar]
    figures = {
        "similarity": best.similarity,
        "disagreement_mm": max(rivals),
        "gradient": best.gradient,
        "excess": 0.0,
        "exposed": shadow_seen(best.pose, patient, views, backend),
    }
    poses = torch.stack([best.pose, best.start, *(pose for pose, _, _ in best.trajectory)])
    parameters = space.to_parameters(poses, patient.isocenter)
    trajectory = Trajectory()
    for one, (_, similarity, factor) in zip(parameters[2:], best.trajectory, strict=True):
        trajectory.add(one, similarity, factor)
    return Registration(
        parameters[0],
        parameters[1],
        best.pose,
        best.start,
        best.similarity,
        "given" if start is not None and torch.equal(best.start, start.double()) else "search",
        judge(figures, replace(limits, similarity=limits.bone_similarity, gradient=limits.bone_gradient)),
        trajectory,
        poses[2:],
    )


@torch.enable_grad()  # evaluators switch gradients off
def register(
    patient: PatientModel,
    views: Sequence[RadiographView],
    space: PoseSpace,
    network: Callable[[Tensor], Tensor] | None = None,
    trained: Detector | None = None,
    schedule: Schedule | None = None,
    limits: AcceptanceLimits | None = None,
    multistart: bool = True,
    start: Tensor | None = None,
    seed: int = 0,
    backend: str | None = None,
    single_bone: bool | str = "auto",
) -> Registration:
    """Pose of the X-rays of a patient.

    The network's answer is refined first. Where there is no network, or its result is not to be trusted, the whole pose
    space is searched.

    Args:
        patient: the CT.
        views: the X-rays; the pose of the first is found, the others move with it.
        space: where the first camera may stand.
        network: pose regressor, or None.
        trained: detector with which it was trained.
        schedule: how it is run.
        limits: of the confidence.
        multistart: whether the whole space may be searched.
        start: camera pose (4, 4) to begin at in place of both.
        seed: of the starts about the network's answer.
        backend: of the renderer.
        single_bone: whether the patient is one bone, which is looked for in the whole of all views; "auto" asks the CT.

    Raises:
        ValueError: where nothing is left to begin with.
    """
    begin = time.perf_counter()
    schedule, limits = schedule or Schedule(), limits or AcceptanceLimits()
    if is_single_bone(patient, views, space.distance_mm, single_bone):
        found = register_bone(patient, views, space, limits, start, backend)
        return replace(found, seconds=time.perf_counter() - begin)
    working = working_views(views, schedule.pixel_mm)
    result: Registration | None = None

    def attempt(starts: Tensor, kind: str) -> Registration:
        return refine_starts(starts, kind, space, patient, working, schedule, limits, backend)

    if start is not None:
        return replace(
            attempt(space.to_parameters(start[None].double(), patient.isocenter), "given"),
            seconds=time.perf_counter() - begin,
        )
    if network is not None and trained is not None:
        result = attempt(network_starts(network, working[0], trained, space, schedule, seed), "network")
    if multistart and (result is None or not result.confidence.accepted):
        starts, _ = search(space, patient, working[0], schedule.starts, backend)
        other = attempt(starts, "multistart")
        if result is None or other.similarity >= result.similarity:
            result = other
    if result is None:
        raise ValueError("neither a network nor the search nor a start is given")
    return replace(result, seconds=time.perf_counter() - begin)
