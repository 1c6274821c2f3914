"""Which vertebrae carry ribs, measured on the CT.

Ribs fix the level of a labelling better than the look of a vertebra. Beside the spine, where transverse processes end,
bone falls into parts that are ribs, most of them apart from each other. The inner end of each, carried on along its own
slope to the side of the spine, lies beside the body that it belongs to. On real CTs ribs reach 80 to 110 mm (as far as
is looked) from the middle of the bodies, transverse processes 31 to 54 mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from monai.data import MetaTensor
from scipy import ndimage

from ..geometry.grids import to_grid, volume_affine
from ..geometry.volume_box import cut_box, volume_bounds
from .labels import SPINE_NAMES, VERTEBRA_LABELS, craniocaudal_order, region_of

SPACING_MM = 1.5
BONE_HU = (200.0, 150.0)  # the lower one for thin ribs alone: beside lumbar vertebrae it finds pieces of the last ribs
DENSE_SHARE = 1.3  # the densest tenth of a rib exceeds the threshold so much; kidneys and vessels with contrast do not
NEAR_MM, FAR_MM = 30.0, 110.0  # to either side of the bodies' middle: where ribs are apart from each other
FRONT_MM, BACK_MM = 8.0, 75.0  # before and behind the middle
START_MM = 10.0  # a part that belongs to the spine begins within this distance of NEAR_MM
LEAST_ML = 0.3
SLOPE_MM = 25.0  # the inner length of a part from which its slope is taken
JOINT_MM = 15.0  # where a rib meets its body
TALLEST_MM = 40.0  # height of the inner end of a rib; several in one part, or a shoulder blade, are taller
CLOSE_MM = 70.0  # nearer to the spine, ribs are apart from the shoulder blades
STEP_SHARE = 0.6  # of the distance of neighbours: the end of a rib lies no farther from the middle of its body
RIB_MM, PROCESS_MM = 60.0, 55.0  # a rib reaches at least as far, a transverse process at most
BELOW_MM = 40.0  # ribs slope downwards: nearer to the lower end of the scan they are cut
BARE_MM = 25.0  # their inner ends are still seen down to here
FIRST, LAST = "T1", "L3"  # below, the iliac crests are as wide


@dataclass(frozen=True)
class RibReach:
    """How far bone reaches to the sides of one vertebra.

    Attributes:
        left_mm, right_mm: from the middle of the body; 0 where no bone begins beside it.
        left, right: True for a rib, False for none, None where it cannot be told: between both, cut by the image, or
            grown together with other bone.
    """

    left_mm: float
    right_mm: float
    left: bool | None
    right: bool | None

    @property
    def rib(self) -> bool | None:
        """True with a rib on both sides, False with none on both, None where that cannot be told or differs."""
        return self.left if self.left == self.right else None


@dataclass(frozen=True)
class BonePart:
    """A connected part of bone to one side of the spine.

    Attributes:
        reach_mm: largest distance from the middle of the bodies.
        end_mm: height (RAS z) at which it meets the spine.
        span_mm: lowest and highest height of its inner end.
        several: whether it is too tall to be one rib.
    """

    reach_mm: float
    end_mm: float
    span_mm: tuple[float, float]
    several: bool


def bone_parts(
    values: np.ndarray, aside: np.ndarray, heights: np.ndarray, window: np.ndarray, bone_hu: float
) -> list[BonePart]:
    """Parts of bone that begin beside the spine.

    Args:
        values: HU (X, Y, Z).
        aside: distance (X, Y, Z) in mm from the middle to this side.
        heights: (Z,) RAS mm.
        window: bool (X, Y, Z), where ribs are looked for on this side.
        bone_hu: HU from which a voxel is bone.
    """
    numbers, count = ndimage.label(window & (values > bone_hu), structure=np.ones((3, 3, 3)))
    least = LEAST_ML * 1000 / SPACING_MM**3
    found = []
    for number, box in enumerate(ndimage.find_objects(numbers, count), start=1):
        inside = np.nonzero(numbers[box] == number)
        distances, z = aside[box][inside], heights[box[2]][inside[2]]
        if len(z) < least or distances.min() > NEAR_MM + START_MM:
            continue
        if np.quantile(values[box][inside], 0.9) < DENSE_SHARE * bone_hu:
            continue
        inner = distances <= distances.min() + SLOPE_MM
        slope, level = np.polyfit(distances[inner], z[inner], 1)
        ends = z[distances <= NEAR_MM + START_MM]
        span = float(ends.min()), float(ends.max())
        several = span[1] - span[0] > TALLEST_MM
        if several and distances.max() > CLOSE_MM:
            found += bone_parts(values, aside, heights, (numbers == number) & (aside < CLOSE_MM), bone_hu)
        else:
            found.append(BonePart(float(distances.max()), float(level + slope * JOINT_MM), span, several))
    return found


def measure_ribs(volume: MetaTensor, points: Mapping[int, np.ndarray]) -> dict[int, RibReach]:
    """What bone there is to the sides of the thoracic and the upper lumbar vertebrae, from head to foot.

    Args:
        volume: (1, X, Y, Z) HU with its affine.
        points: label to body centre (3,) RAS mm.

    Returns:
        label to what is seen beside it; empty for fewer than two points.
    """
    labels = craniocaudal_order(points)
    if len(labels) < 2:
        return {}
    centres = np.array([points[label] for label in labels])
    low = centres.min(axis=0) - [FAR_MM, BACK_MM, 1.5 * BELOW_MM]
    high = centres.max(axis=0) + [FAR_MM, FRONT_MM, BELOW_MM]
    working = to_grid(cut_box(volume, low, high), SPACING_MM)
    values, origin = working.as_tensor()[0].cpu().numpy(), volume_affine(working)[:3, 3]
    x, y, z = (origin[axis] + SPACING_MM * np.arange(values.shape[axis]) for axis in range(3))
    order = np.argsort(centres[:, 2])
    middle = [np.interp(z, centres[order, 2], centres[order, axis]) for axis in (0, 1)]
    across, along = x[:, None, None] - middle[0], y[None, :, None] - middle[1]
    depth = (along < FRONT_MM) & (along > -BACK_MM)
    steps = np.abs(np.diff(centres[:, 2]))
    nearby = STEP_SHARE * np.maximum(np.append(steps, steps[-1]), np.append(steps[0], steps))
    bounds = volume_bounds(volume)
    sides = {"left": (-1.0, centres[:, 0] - bounds[0][0]), "right": (1.0, bounds[1][0] - centres[:, 0])}
    seen: dict[str, list[tuple[float, bool | None]]] = {}
    for side, (sign, wide) in sides.items():
        aside = np.broadcast_to(sign * across, values.shape)
        window = depth & (aside > NEAR_MM) & (aside < FAR_MM)
        parts = [(hu, part) for hu in BONE_HU for part in bone_parts(values, aside, z, window, hu)]
        reach = np.zeros(len(labels))
        hidden = np.zeros(len(labels), bool)
        for bone_hu, part in parts:
            if part.several:
                hidden |= (centres[:, 2] > part.span_mm[0] - nearby) & (centres[:, 2] < part.span_mm[1] + nearby)
                continue
            gaps = np.abs(part.end_mm - centres[:, 2])
            nearest = int(gaps.argmin())
            thoracic = region_of(labels[nearest]) == "T"
            if gaps[nearest] <= nearby[nearest] and (thoracic or bone_hu == BONE_HU[0]):
                reach[nearest] = max(reach[nearest], part.reach_mm)
        below = centres[:, 2] - bounds[0][2]
        needed = np.where(reach > 0, BELOW_MM, BARE_MM)
        hidden |= (wide < RIB_MM) | (below < needed)
        seen[side] = [(float(one), is_rib(float(one), bool(cover))) for one, cover in zip(reach, hidden, strict=True)]
    looked_at = craniocaudal_order({*range(VERTEBRA_LABELS[FIRST], VERTEBRA_LABELS[LAST] + 1), VERTEBRA_LABELS["T13"]})
    return {
        label: RibReach(round(left[0], 1), round(right[0], 1), left[1], right[1])
        for label, left, right in zip(labels, seen["left"], seen["right"], strict=True)
        if label in looked_at
    }


def is_rib(reach_mm: float, hidden: bool) -> bool | None:
    """Whether bone that reaches so far is a rib; None where it cannot be told, because it is hidden or between both."""
    if reach_mm >= RIB_MM:
        return True
    return None if hidden or reach_mm > PROCESS_MM else False


def rib_doubts(ribs: Mapping[int, RibReach]) -> list[str]:
    """Sentences about what the measured ribs say against the names of the vertebrae, which are the keys."""
    found = []
    for name in ("L1", "L2", "L3"):
        if (beside := ribs.get(VERTEBRA_LABELS[name])) is not None and beside.rib:
            found.append(f"{name} carries ribs")
    labels = list(ribs)
    for upper, lower in zip(labels[:-1], labels[1:], strict=True):
        pair = SPINE_NAMES[upper], SPINE_NAMES[lower]
        if pair in (("T11", "T12"), ("T12", "T13")) and ribs[upper].rib and ribs[lower].rib is False:
            found.append(f"the last rib is on {pair[0]}")
        if pair == ("T11", "L1"):
            found.append("T12 would be absent, which is rare, and the ribs above were not all counted")
    return found
