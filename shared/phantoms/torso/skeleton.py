"""All bones of a patient, painted in an order in which earlier ones keep their joints free."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ...spine.labels import SPINE_LABELS, VERTEBRA_LABELS, region_of
from ..box import Box
from ..sdf import Array
from .canvas import Bone, Voxels
from .cervical import atlas_distance, axis_distance
from .pelvis import FEMORAL_HEAD, coccyx_distance, femur_distance, hip_distance, sacrum_distance
from .profile import Profile
from .spine_curve import STEP_MM, Pose, Spine, frame
from .thorax import paint_ribs, paint_shoulders, paint_sternum
from .vertebra import VertebraShape, as_vector, shape_at, vertebra_distance

AVERAGE_SLOPE = -38.0  # degrees, of S1 in the pelvic frame


@dataclass(frozen=True)
class Vertebra:
    """One vertebra of a patient: where it is, its measures (mm) and how far a fracture has lowered its body."""

    label: int
    pose: Pose
    shape: VertebraShape
    front: float = 1.0
    back: float = 1.0


def random_vertebrae(spine: Spine, fractured: frozenset[int], rng: np.random.Generator) -> list[Vertebra]:
    """Measures of all vertebrae of a patient: common build, small differences between levels."""
    fields = len(as_vector(shape_at(10)))
    build = 1.0 + 0.05 * np.clip(rng.standard_normal(fields), -2, 2)
    gaps = np.arange(1, 25) + 0.5
    centres = np.array([pose.centre for pose in spine.poses] + [spine.sacrum.centre])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    vertebrae = []
    for i, (label, position, pose) in enumerate(zip(spine.labels, spine.positions, spine.poses, strict=True)):
        vector = as_vector(shape_at(position)) * build * (1.0 + 0.02 * np.clip(rng.standard_normal(fields), -2, 2))
        vector *= spine.scale
        shape = VertebraShape(*vector.tolist())
        # bodies are as high as the steps to the neighbours allow
        usual = np.interp([position - 0.5, position + 0.5], gaps, STEP_MM).mean()
        own = steps[max(i - 1, 0) : i + 1].mean()
        height = as_vector(shape_at(position))[2] * float(np.clip(own / usual, 0.8, 1.25)) * rng.normal(1.0, 0.015)
        values = {**shape.__dict__, "body_z": float(height), "waist": float(np.clip(shape.waist, 0.02, 0.14))}
        front = float(rng.uniform(0.5, 0.8)) if label in fractured else 1.0
        back = float(rng.uniform(0.88, 1.0)) if label in fractured else 1.0
        vertebrae.append(Vertebra(label, pose, VertebraShape(**values), front, back))
    return vertebrae


def local_box(canvas: Voxels, pose: Pose, low: Array, high: Array) -> tuple[Box, Array, Array, Array] | None:
    """The voxels around a box given in a bone's frame, with their coordinates in that frame."""
    corners = itertools.product(*zip(low, high, strict=True))
    world = pose.to_world(np.array(list(corners)))
    box = canvas.box(world.min(0), world.max(0))
    if box is None:
        return None
    dx, dy, dz = (g - np.float32(c) for g, c in zip((box.x, box.y, box.z), pose.centre, strict=True))
    axes = pose.axes.astype(np.float32)
    local = [dx * axes[0, c] + dy * axes[1, c] + dz * axes[2, c] for c in range(3)]
    return box, local[0], local[1], local[2]


def warp(x: Array, y: Array, z: Array, rng: np.random.Generator, size: float = 1.0) -> tuple[Array, Array, Array]:
    """Coordinates with a smooth individual deformation of about `size` mm, so that no bone is symmetric."""
    amplitude = size * rng.normal(0, 0.5, (3, 2))
    phase = rng.uniform(0, 2 * np.pi, (3, 2))
    k = 2 * np.pi / rng.uniform(40, 70, 3)
    sx, sy, sz = (np.sin(k[i] * v + phase[i, 0]).astype(np.float32) for i, v in enumerate((x, y, z)))
    lean = rng.normal(0, 0.02)
    return (
        x + amplitude[0, 0] * sy + amplitude[0, 1] * sz + lean * y,
        y + amplitude[1, 0] * sx + amplitude[1, 1] * sz,
        z + amplitude[2, 0] * sx + amplitude[2, 1] * sy,
    )


def paint_vertebra(canvas: Voxels, vertebra: Vertebra, bone: Bone, rng: np.random.Generator) -> None:
    """Paint one vertebra with its label."""
    s, label = vertebra.shape, vertebra.label
    if label <= 2:
        low, high = np.array([-44.0, -52, -24]), np.array([44.0, 24, 28])
    else:
        reach = max(s.transverse_x + s.transverse_r, s.lower_x + 12, s.body_x) + 5
        bottom = min(-s.body_z, s.lower_z - s.facet, s.spine_z - 2 * s.spine_h, s.transverse_z - 8) - 4
        low = np.array([-reach, s.spine_y - 8, bottom])
        high = np.array([reach, s.body_y + 5, max(s.body_z, s.upper_z + s.facet, s.transverse_z + 8) + 5])
    place = local_box(canvas, vertebra.pose, low, high)
    state = rng.spawn(1)[0]  # the same draws whether the vertebra is in view or not
    if place is None:
        return
    box, x, y, z = place
    x, y, z = warp(x, y, z, state, 0.8)
    if label == 1:
        scale = s.canal_x / shape_at(3).canal_x
        distance = scale * atlas_distance(x / scale, y / scale, z / scale)
        cortex: float | Array = 1.6
    elif label == 2:
        scale = s.canal_x / shape_at(3).canal_x
        distance = scale * axis_distance(x / scale, y / scale, z / scale)
        cortex = 1.4
    else:
        distance = vertebra_distance(x, y, z, s, vertebra.front, vertebra.back)
        cortex = 1.0 + 0.6 * (y < -s.body_y)
    own = Bone(bone.cortex, bone.marrow, cortex * bone.cortex_mm, bone.rough)
    canvas.fill_bone(box, distance, own, "vertebra", label)


def pelvic_pose(spine: Spine) -> Pose:
    """The pelvic frame: at S1, tilted with the sacrum, upright at an average slope."""
    up = spine.sacrum.axes[:, 2]
    slope = -np.degrees(np.arctan2(up[1], up[2]))
    return Pose(spine.sacrum.centre, frame(slope - AVERAGE_SLOPE, 0.0, 0.0))


def paint_pelvis(canvas: Voxels, spine: Spine, bone: Bone, rng: np.random.Generator) -> None:
    """Sacrum, coccyx, hip bones and femora."""
    s = spine.scale
    states = rng.spawn(6)
    place = local_box(canvas, spine.sacrum, s * np.array([-62.0, -46, -92]), s * np.array([62.0, 24, 26]))
    if place is not None:
        box, x, y, z = place
        x, y, z = warp(x, y, z, states[0], 1.5)
        thick = Bone(bone.cortex, 0.8 * bone.marrow, 1.3 * bone.cortex_mm, bone.rough)
        canvas.fill_bone(box, s * sacrum_distance(x / s, y / s, z / s), thick, "sacrum", SPINE_LABELS["sacrum"])
    place = local_box(canvas, spine.sacrum, s * np.array([-14.0, 0, -126]), s * np.array([14.0, 38, -86]))
    if place is not None:
        box, x, y, z = place
        canvas.fill_bone(box, s * coccyx_distance(x / s, y / s, z / s), bone, "sacrum", SPINE_LABELS["coccyx"])
    pose = pelvic_pose(spine)
    for side, name, state in ((1, "right", states[2]), (-1, "left", states[3])):
        low, high = (s * np.array([0.0, -70, -176]), s * np.array([142.0, 82, 60]))
        place = local_box(canvas, pose, *_mirrored(low, high, side))
        if place is not None:
            box, x, y, z = place
            x, y, z = warp(side * x, y, z, state, 2.5)
            thick = Bone(bone.cortex, bone.marrow, 1.5 * bone.cortex_mm, bone.rough)
            canvas.fill_bone(box, s * hip_distance(x / s, y / s, z / s), thick, f"hip_{name}")
        low, high = (s * np.array([60.0, -22, -480]), s * np.array([160.0, 62, -66]))
        place = local_box(canvas, pose, *_mirrored(low, high, side))
        if place is not None:
            box, x, y, z = place
            x, y, z = (side * x / s, y / s, z / s)
            # the cortex of the shaft is thick, that of the head thin
            shaft = np.clip((-z - 110.0) / 60.0, 0.0, 1.0) * np.clip((x - 100.0) / 10.0, 0.0, 1.0)
            strong = Bone(1.25 * bone.cortex, 0.9 * bone.marrow, 1.3 * bone.cortex_mm + 4.0 * shaft, bone.rough)
            canvas.fill_bone(box, s * femur_distance(x, y, z), strong, f"femur_{name}")


def _mirrored(low: Array, high: Array, side: int) -> tuple[Array, Array]:
    """Corners of a box that is given for the right side."""
    if side > 0:
        return low, high
    return np.array([-high[0], low[1], low[2]]), np.array([-low[0], high[1], high[2]])


def femoral_head(spine: Spine, side: int) -> Array:
    """Centre (3,) of a femoral head, side +1 right."""
    x, y, z = FEMORAL_HEAD
    return pelvic_pose(spine).to_world(np.array([side * x, y, z]) * spine.scale)


def paint_skeleton(
    canvas: Voxels, vertebrae: list[Vertebra], profile: Profile, bone: Bone, arms: str, rng: np.random.Generator
) -> None:
    """All bones but the skull."""
    spine = profile.spine
    order = sorted(vertebrae, key=lambda v: (v.label == 1, -v.pose.centre[2]))  # the dens goes before the atlas
    states = rng.spawn(len(order) + 3)
    for vertebra, state in zip(order, states, strict=False):
        dense = 1.15 if region_of(vertebra.label) == "C" else 1.0
        own = Bone(bone.cortex, dense * bone.marrow, bone.cortex_mm, bone.rough)
        paint_vertebra(canvas, vertebra, own, state)
    paint_pelvis(canvas, spine, bone, states[-1])
    thoracic = {}
    for vertebra in vertebrae:
        if region_of(vertebra.label) == "T":
            number = 13 if vertebra.label == VERTEBRA_LABELS["T13"] else vertebra.label - VERTEBRA_LABELS["T1"] + 1
            thoracic[number] = (vertebra.pose, vertebra.shape)
    rib = Bone(0.95 * bone.cortex, 0.8 * bone.marrow + 40, 0.9 * bone.cortex_mm, bone.rough)
    paint_ribs(canvas, thoracic, profile, rib, states[-2])
    thin = Bone(0.75 * bone.cortex, 0.8 * bone.marrow, 1.1 * bone.cortex_mm, bone.rough)
    paint_sternum(canvas, profile, thin)
    shoulder = Bone(bone.cortex, 0.9 * bone.marrow, 1.5 * bone.cortex_mm, bone.rough)
    paint_shoulders(canvas, profile, shoulder, arms, states[-3])
