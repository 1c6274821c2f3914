"""Which way a body lies in a CT, by its anatomy, to contradict a header that says otherwise.

A brain lies above a face and a neck. The trachea runs beside the upper half of the lungs; above them is much bone
(shoulder girdle, spine, jaw) in little flesh, below them little bone around heart, liver and spleen. The spine lies at
the back, the liver on the right. Each of these is a vote with a sign, and only votes that agree clearly against the
header count: a CT in which nothing of this is seen is taken as its header says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from monai.data import MetaTensor
from scipy import ndimage

from ..geometry.grids import to_grid

GRID_MM = 4.0
BODY_HU, LUNG_HU, AIRWAY_HU, BONE_HU = -300.0, -500.0, -400.0, 200.0
AIRWAY_CM2 = (0.6, 7.0)
DISC = np.hypot(*np.mgrid[-4:5, -4:5]) <= 4.2  # 34 mm across
CM2 = (GRID_MM / 10) ** 2
LEAST_LUNG, LARGE_LUNG = 0.045, 0.14  # share of the body on a slice, of any lung and of enough to tell it from gas
LEAST_BRAIN_CM2 = 45.0
LEAST_SLICES = 6  # 24 mm
BEYOND = 10  # slices, 40 mm
UPRIGHT_LIMIT, FRONT_LIMIT, SIDE_LIMIT = -1.2, -1.0, -2.0
HOLLOW = 0.2
LONGEST_LUNGS = 0.9  # height of lungs over the width of the chest around them
WIDEST_MM = 800.0


@dataclass(frozen=True)
class BodyState:
    """What contradicts the header of a CT.

    Attributes:
        problem: why it cannot be as the header says, None where nothing speaks against it.
        warnings: what is unusual about it.
    """

    problem: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BodySlices:
    """What is seen on each axial slice (Z,) of a body, from below to above.

    Attributes:
        area: of the body, cm².
        width: of the body, mm.
        lung: area of lung, cm².
        brain: area of soft tissue that bone encloses, cm².
        bone: area of bone, cm².
        bone_behind: how far bone lies behind the middle of the body, as a share of its depth.
        solid: share of the body that is thick soft tissue, such as heart, liver and spleen.
        airway: whether a hole of air of the size of a trachea lies in the middle.
        solid_right: how far that soft tissue lies to the right of the middle of the body, as a share of its width.
    """

    area: np.ndarray
    width: np.ndarray
    lung: np.ndarray
    brain: np.ndarray
    bone: np.ndarray
    bone_behind: np.ndarray
    solid: np.ndarray
    airway: np.ndarray
    solid_right: np.ndarray


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; all of an empty one."""
    parts, count = ndimage.label(mask)
    return mask if count == 0 else parts == np.bincount(parts.ravel())[1:].argmax() + 1


def behind(mask: np.ndarray, body: np.ndarray) -> float:
    """How far the middle of a mask (X, Y) lies behind that of the body, as a share of the body's depth."""
    y, of_body = np.nonzero(mask)[1], np.nonzero(body)[1]
    return 0.0 if len(y) < 5 else float((of_body.mean() - y.mean()) / max(np.ptp(of_body), 1))


def has_airway(hu: np.ndarray, body: np.ndarray) -> bool:
    """Whether a hole of the size of a trachea lies near the middle of a slice (X, Y)."""
    parts, count = ndimage.label((hu < AIRWAY_HU) & ndimage.binary_erosion(body, iterations=2))
    across = np.flatnonzero(body.any(axis=1))
    for index in range(1, count + 1):
        x, y = np.nonzero(parts == index)
        small = AIRWAY_CM2[0] <= len(x) * CM2 <= AIRWAY_CM2[1] and max(np.ptp(x), np.ptp(y)) * GRID_MM < 40
        if small and abs(x.mean() - (across[0] + across[-1]) / 2) * GRID_MM < 30:
            return True
    return False


def slice_features(hu: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """One slice of :class:`BodySlices` from HU and body (X, Y), x to the right and y to the front."""
    body = ndimage.binary_fill_holes(mask)
    inside = ndimage.binary_erosion(body, iterations=2)
    bone = (hu > BONE_HU) & body
    shell = ndimage.binary_closing(np.pad(bone, 2), iterations=1)[2:-2, 2:-2]
    enclosed = ndimage.binary_fill_holes(shell) & ~shell
    brain = enclosed & (hu > -20) & (hu < 120)
    lung = ndimage.binary_opening((hu < LUNG_HU) & inside)
    solid = ndimage.binary_opening((hu > -20) & (hu < 250) & body, DISC)
    xs = np.nonzero(solid)[0]
    across = np.flatnonzero(body.any(axis=1))
    width = float(np.ptp(across) + 1) * GRID_MM if len(across) else 0.0
    right = float((xs.mean() - across.mean()) * GRID_MM / width) if len(xs) > 20 else 0.0
    return (
        body.sum() * CM2, width, lung.sum() * CM2, brain.sum() * CM2, bone.sum() * CM2,
        behind(bone, body), solid.sum() / max(body.sum(), 1), float(has_airway(hu, body)), right,
    )  # fmt: skip


def body_slices(hu: np.ndarray) -> BodySlices | None:
    """Features of the slices of a CT (X, Y, Z), RAS and voxels of 4 mm, that show the body; None where none does."""
    body = largest_part(ndimage.binary_opening(hu > BODY_HU, iterations=2))
    levels = np.flatnonzero(body.any(axis=(0, 1)))
    if len(levels) < LEAST_SLICES:
        return None
    rows = [slice_features(hu[:, :, z], body[:, :, z]) for z in range(levels[0], levels[-1] + 1)]
    return BodySlices(*np.array(rows).T)


def lung_run(found: BodySlices) -> slice | None:
    """The longest run of slices with lung, None where it is short; gaps of two slices do not end it.

    Gas in the bowel, of which there is less than of lung, does not count.
    """
    share = found.lung / np.maximum(found.area, 1)
    if share.max() < LARGE_LUNG:
        return None
    seen = ndimage.binary_closing(np.pad(share > max(LEAST_LUNG, 0.3 * share.max()), 2), np.ones(3))[2:-2]
    parts, count = ndimage.label(seen)
    runs = [part[0] for part in ndimage.find_objects(parts)] if count else []
    longest = max(runs, key=lambda run: run.stop - run.start, default=None)
    return longest if longest is not None and longest.stop - longest.start >= LEAST_SLICES else None


def lung_ends(run: slice, count: int) -> tuple[slice, slice]:
    """Slices around the lower and the upper end of the lungs: a quarter of their height and up to 4 cm beyond."""
    quarter = max(2, (run.stop - run.start) // 4)
    lower = slice(max(0, run.start - BEYOND), run.start + quarter)
    upper = slice(run.stop - quarter, min(count, run.stop + BEYOND))
    return lower, upper


def vote(value: float, scale: float, most: float = 2.0) -> float:
    """A difference as a vote: 1 for ``scale``, never more than ``most``."""
    return float(np.clip(value / scale, -most, most))


def upright_votes(found: BodySlices) -> dict[str, float]:
    """Votes on whether the upper end of the header is towards the head: positive for, negative against."""
    votes: dict[str, float] = {}
    brain = np.flatnonzero((found.brain > LEAST_BRAIN_CM2) & (found.brain > 0.35 * found.area) & (found.lung < 10))
    if len(brain) >= LEAST_SLICES:
        votes["brain"] = vote(brain[0] - (len(found.area) - 1 - brain[-1]), 8, most=3.0)
    run = lung_run(found)
    if run is not None:
        lower, upper = lung_ends(run, len(found.area))
        middle = (run.start + run.stop) // 2
        holes = found.airway[middle : run.stop].sum() - found.airway[run.start : middle].sum()
        bone = found.bone / np.maximum(found.area, 1)
        votes["trachea"] = vote(holes, 4)
        votes["bone"] = vote(np.median(bone[upper]) - np.median(bone[lower]), 0.02)
        votes["solid"] = vote(np.median(found.solid[lower]) - np.median(found.solid[upper]), 0.15)
    return votes


def front_votes(found: BodySlices) -> dict[str, float]:
    """Votes on whether the spine is at the back of the header, where a trunk is seen."""
    run = lung_run(found)
    return {} if run is None else {"spine": vote(np.median(found.bone_behind[run]), 0.05, most=3.0)}


def side_votes(found: BodySlices) -> dict[str, float]:
    """Votes on whether the liver is on the right of the header, where the lower end of the lungs is in view."""
    run = lung_run(found)
    if run is None:
        return {}
    lower, upper = lung_ends(run, len(found.area))
    liver = found.solid_right[lower][found.solid[lower] > 0.2]
    return {"liver": vote(np.median(liver), 0.05, most=3.0)} if len(liver) >= LEAST_SLICES else {}


def size_problem(hu: np.ndarray) -> str | None:
    """What is wrong about the size of the body in a CT (X, Y, Z) with voxels of 4 mm, None where nothing is.

    A trunk is hollow, and its lungs are at most as high as the chest around them is wide.
    """
    width, hollow = np.array([trunk_width(hu[:, :, z]) for z in range(hu.shape[2])]).T
    if width.max() > WIDEST_MM:
        return f"shows a body {width.max():.0f} mm wide, so its voxel size is wrong"
    parts, count = ndimage.label(hollow > HOLLOW)
    longest = int(np.bincount(parts)[1:].max()) if count else 0
    if longest >= 2 * LEAST_SLICES:
        chest, height = float(np.percentile(width[hollow > HOLLOW], 75)), longest * GRID_MM
        if height > LONGEST_LUNGS * chest:
            return f"shows a chest {chest:.0f} mm wide with lungs {height:.0f} mm high, so its voxel size is wrong"
    return None


def trunk_width(hu: np.ndarray) -> tuple[float, float]:
    """Width in mm of the largest thing on a slice (X, Y), and the share of it that is air inside."""
    thing = largest_part(ndimage.binary_fill_holes(hu > BODY_HU))
    across = np.flatnonzero(thing.any(axis=1))
    if len(across) == 0:
        return 0.0, 0.0
    return (float(np.ptp(across)) + 1) * GRID_MM, float(((hu < LUNG_HU) & thing).sum() / thing.sum())


def is_upright(volume: MetaTensor) -> bool | None:
    """Whether the head of the body in a CT (1, X, Y, Z) lies above, as its header says; None where nothing tells."""
    found = body_slices(to_grid(volume, GRID_MM).as_tensor()[0].cpu().numpy())
    total = 0.0 if found is None else sum(upright_votes(found).values())
    return None if abs(total) < -UPRIGHT_LIMIT else total > 0


def body_state(volume: MetaTensor) -> BodyState:
    """What contradicts the header of a CT (1, X, Y, Z) in HU."""
    hu = to_grid(volume, GRID_MM).as_tensor()[0].cpu().numpy()
    if (problem := size_problem(hu)) is not None:
        return BodyState(problem)
    found = body_slices(hu)
    if found is None:
        return BodyState()
    upright, front, side = (sum(votes(found).values()) for votes in (upright_votes, front_votes, side_votes))
    wrong = [
        words
        for total, limit, words in (
            (upright, UPRIGHT_LIMIT, "upside down"),
            (front, FRONT_LIMIT, "front to back"),
        )
        if total <= limit
    ]
    if wrong:
        return BodyState(f"seems to be {' and '.join(wrong)}")
    if side <= SIDE_LIMIT:
        return BodyState(warnings=("the liver seems to lie on the left: left and right of the file may be exchanged",))
    return BodyState()
