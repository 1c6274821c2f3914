"""Which way a body lies in a CT, by its anatomy, to contradict a header that says otherwise.

A brain lies above a face, a neck and lungs; the mediastinum is narrow above and filled by the heart and the dome of the
liver below; apices are narrow and in the middle, the last of the lungs lies behind; the spine is at the back and the
heart on the left. Each of these is a vote with a sign, and only votes that agree clearly against the header count: a CT
in which nothing of this is seen is taken as its header says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from monai.data import MetaTensor
from scipy import ndimage

from ..geometry.grids import to_grid

GRID_MM = 4.0
BODY_HU, LUNG_HU, BONE_HU = -300.0, -500.0, 200.0
CM2 = (GRID_MM / 10) ** 2
LEAST_LUNG_CM2, LEAST_BRAIN_CM2 = 25.0, 45.0
LEAST_SLICES = 6  # 24 mm
UPRIGHT_LIMIT, FRONT_LIMIT, SIDE_LIMIT = -1.0, -1.0, -1.0
LONGEST_LUNGS = 1.5  # height of lungs over the width of the chest around them
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
        lung_behind: the same of lung.
        filled: share of the space between and around the lungs that is no lung.
        heart_left: how far what is between the lungs lies to the left of their middle, as a share of their width.
    """

    area: np.ndarray
    width: np.ndarray
    lung: np.ndarray
    brain: np.ndarray
    bone: np.ndarray
    bone_behind: np.ndarray
    lung_behind: np.ndarray
    filled: np.ndarray
    heart_left: np.ndarray


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; all of an empty one."""
    parts, count = ndimage.label(mask)
    return mask if count == 0 else parts == np.bincount(parts.ravel())[1:].argmax() + 1


def behind(mask: np.ndarray, body: np.ndarray) -> float:
    """How far the middle of a mask (X, Y) lies behind that of the body, as a share of the body's depth."""
    y, of_body = np.nonzero(mask)[1], np.nonzero(body)[1]
    return 0.0 if len(y) < 5 else float((of_body.mean() - y.mean()) / max(np.ptp(of_body), 1))


def slice_features(hu: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """One slice of :class:`BodySlices` from HU and body (X, Y), x to the right and y to the front."""
    body = ndimage.binary_fill_holes(mask)
    inside = ndimage.binary_erosion(body, iterations=2)
    bone = (hu > BONE_HU) & body
    shell = ndimage.binary_closing(np.pad(bone, 2), iterations=1)[2:-2, 2:-2]
    enclosed = ndimage.binary_fill_holes(shell) & ~shell
    brain = enclosed & (hu > -20) & (hu < 120)
    lung = ndimage.binary_opening((hu < LUNG_HU) & inside)
    filled = heart = 0.0
    if lung.sum() * CM2 > LEAST_LUNG_CM2:
        x, y = np.nonzero(lung)
        box = np.zeros_like(lung)
        box[x.min() : x.max() + 1, y.min() : y.max() + 1] = True
        between = box & body & ~lung
        filled = float(between.sum() / box.sum())
        front = between & (np.arange(lung.shape[1]) > (y.min() + y.max()) / 2) & (hu > -50)
        if front.sum() > 20:
            heart = float(((x.min() + x.max()) / 2 - np.nonzero(front)[0].mean()) / max(np.ptp(x), 1))
    across = np.flatnonzero(body.any(axis=1))
    width = float(np.ptp(across) + 1) * GRID_MM if len(across) else 0.0
    return (
        body.sum() * CM2, width, lung.sum() * CM2, brain.sum() * CM2, bone.sum() * CM2,
        behind(bone, body), behind(lung, body), filled, heart,
    )  # fmt: skip


def body_slices(hu: np.ndarray) -> BodySlices | None:
    """Features of the slices of a CT (X, Y, Z), RAS and voxels of 4 mm, that show the body; None where none does."""
    body = largest_part(ndimage.binary_opening(hu > BODY_HU, iterations=2))
    levels = np.flatnonzero(body.any(axis=(0, 1)))
    if len(levels) < LEAST_SLICES:
        return None
    rows = [slice_features(hu[:, :, z], body[:, :, z]) for z in range(levels[0], levels[-1] + 1)]
    return BodySlices(*np.array(rows).T)


def slope(values: np.ndarray) -> float:
    """Change of values along the body, from its lower to its upper end, by a straight line."""
    return float(np.polyfit(np.linspace(-0.5, 0.5, len(values)), values, 1)[0])


def lung_levels(found: BodySlices) -> np.ndarray:
    return np.flatnonzero(found.lung > LEAST_LUNG_CM2)


def brain_levels(found: BodySlices) -> np.ndarray:
    return np.flatnonzero((found.brain > LEAST_BRAIN_CM2) & (found.brain > 0.35 * found.area) & (found.lung < 10))


def upright_votes(found: BodySlices) -> dict[str, float]:
    """Votes on whether the upper end of the header is towards the head: positive for, negative against."""
    votes: dict[str, float] = {}
    lungs, brain = lung_levels(found), brain_levels(found)
    count = len(found.area)
    if len(brain) >= LEAST_SLICES:
        below, above = int(brain[0]), count - 1 - int(brain[-1])
        votes["brain"] = float(np.clip((below - above) / 10, -3, 3))
    if len(lungs) >= LEAST_SLICES:
        part = slice(int(lungs[0]), int(lungs[-1]) + 1)
        if len(lungs) >= 15:
            votes["filled"] = float(np.clip(-slope(found.filled[part]) / 0.3, -2, 2))
            votes["behind"] = float(np.clip(-slope(found.lung_behind[part]) / 0.15, -2, 2))
        typical = float(np.median(found.area[part]))
        below, above = found.area[: part.start], found.area[part.stop :]
        votes["neck"] = float(np.clip(((above < 0.45 * typical).sum() - (below < 0.45 * typical).sum()) / 6, -2, 2))
        trunk = [(side > 0.7 * typical).sum() for side in (below, above)]
        votes["abdomen"] = float(np.clip((trunk[0] - trunk[1]) / 15, -2, 2))
    return votes


def front_votes(found: BodySlices) -> dict[str, float]:
    """Votes on whether the spine is at the back of the header, where a trunk is seen."""
    lungs = lung_levels(found)
    if len(lungs) < LEAST_SLICES:
        return {}
    return {"spine": float(np.clip(np.median(found.bone_behind[lungs]) / 0.05, -3, 3))}


def side_votes(found: BodySlices) -> dict[str, float]:
    """Votes on whether the heart is on the left of the header, where most of the lungs is in view."""
    lungs = lung_levels(found)
    if len(lungs) < 25:
        return {}
    lower = lungs[: len(lungs) * 2 // 3]
    return {"heart": float(np.clip(np.median(found.heart_left[lower]) / 0.03, -3, 3))}


def size_problem(found: BodySlices) -> str | None:
    """What is wrong about the size of a body, None where nothing is."""
    lungs = lung_levels(found)
    if found.width.max() > WIDEST_MM:
        return f"shows a body {found.width.max():.0f} mm wide, so its voxel size is wrong"
    if len(lungs) >= 15:
        width, height = float(np.percentile(found.width[lungs], 75)), len(lungs) * GRID_MM
        if height > LONGEST_LUNGS * width:
            return f"shows a chest {width:.0f} mm wide with lungs {height:.0f} mm high, so its voxel size is wrong"
    return None


def body_state(volume: MetaTensor) -> BodyState:
    """What contradicts the header of a CT (1, X, Y, Z) in HU."""
    found = body_slices(to_grid(volume, GRID_MM).as_tensor()[0].cpu().numpy())
    if found is None:
        return BodyState()
    if (problem := size_problem(found)) is not None:
        return BodyState(problem)
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
        return BodyState(warnings=("the heart lies on the right: left and right of the file may be exchanged",))
    return BodyState()
