"""Ribs with costal cartilage, sternum, clavicles, scapulae and humeri.

Ribs run on the outline of the cage (`profile`) from the vertebrae forwards and downwards; a vertebra has ribs exactly
if it is thoracic. Everything is in patient RAS mm; side is +1 on the right, -1 on the left.
"""

from __future__ import annotations

import numpy as np

from ..box import Box
from ..sdf import Array, capsule, smooth_union
from .canvas import TISSUES, Bone, Voxels
from .pelvis import plate
from .profile import Profile, height_of
from .spine_curve import Pose
from .vertebra import VertebraShape

# per rib: angle on the cage where the bone ends (degrees from the front), drop from the back to there (mm)
RIB_END = (28, 27, 28, 30, 33, 37, 44, 55, 66, 78, 103, 140)
RIB_DROP = (34, 55, 74, 90, 103, 112, 118, 116, 108, 98, 70, 42)
STUB = (158, 12)  # rib of T13
START = 166.0  # degrees from the front: rib angle


def rib_line(
    pose: Pose, shape: VertebraShape, number: int, side: int, profile: Profile, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Points (N, 3) along a rib and the outward normals (N, 3); number 13 is the stub rib of T13."""
    usual_end, usual_drop = STUB if number > 12 else (RIB_END[number - 1], RIB_DROP[number - 1])
    scale = profile.spine.scale
    spread = 8.0 if number in (11, 12) else 2.0  # the last ribs differ most in length
    end = usual_end + spread * float(np.clip(rng.standard_normal(), -1.5, 1.5))
    drop = usual_drop * scale * (1 + rng.normal(0, 0.08))
    up = 0.75 * shape.body_z if 2 <= number <= 10 else 0.2 * shape.body_z
    head = pose.to_world([side * (shape.body_x + 1.5), -0.75 * shape.body_y, up])
    neck_z = shape.transverse_z + (1.0 if number <= 10 else 0.0)
    tip_x = shape.transverse_x if number <= 10 else max(shape.transverse_x, 24.0)
    neck = pose.to_world([side * tip_x, shape.transverse_y + shape.transverse_r + 4.5, neck_z])
    angle = np.deg2rad(np.linspace(START, max(end, 1.0), 40))
    start = np.deg2rad(START)
    share = (start - angle) / (start - np.deg2rad(min(end, 30.0)))
    full = share[-1]
    z = neck[2] - 5.0 - drop * (share / full) ** 0.9
    x0, y0, a, b = profile.cage(z)
    inset = 3.5
    power = 2 / 2.4  # the cage is a superellipse, see `soft`
    sine, cosine = np.sin(angle), np.cos(angle)
    x = x0 + side * (a - inset) * np.abs(sine) ** power
    y = y0 + (b - inset) * np.sign(cosine) * np.abs(cosine) ** power
    path = np.stack([x, y, z], axis=1)
    # the first part bends from the neck towards the outline
    keep = np.linalg.norm(path[:, :2] - neck[:2], axis=1) > 12.0
    first = int(np.argmax(keep)) if keep.any() else len(path) - 1
    path = np.concatenate([head[None], neck[None], path[first:]])
    step = np.r_[0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    even = np.linspace(0, step[-1], max(int(step[-1] / 9.0), 3) + 1)
    path = np.stack([np.interp(even, step, c) for c in path.T], axis=1)
    for _ in range(2):  # rounds the corners, keeps the ends
        path[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
    normal = np.stack([path[:, 0] - np.mean(x0), path[:, 1] - np.mean(y0), np.zeros(len(path))], axis=1)
    normal[:2, 2] = 1.0  # head and neck are round anyway
    return path, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def ribbon(canvas: Voxels, path: Array, normals: Array, thick: Array, high: Array) -> list[tuple[Box, Array]]:
    """Distances to a flat bar along a polyline, one local box per segment; half axes `thick` and `high` in mm."""
    parts = []
    for i in range(len(path) - 1):
        p, q = path[i], path[i + 1]
        margin = float(max(high[i], high[i + 1])) + 3.0
        box = canvas.box(np.minimum(p, q) - margin, np.maximum(p, q) + margin)
        if box is None:
            continue
        along = q - p
        length = np.linalg.norm(along)
        along = along / length
        out = normals[i] - along * (normals[i] @ along)
        out = out / np.linalg.norm(out)
        vertical = np.cross(along, out)
        dx, dy, dz = box.x - p[0], box.y - p[1], box.z - p[2]
        t = dx * along[0] + dy * along[1] + dz * along[2]
        beyond = t - np.clip(t, 0.0, length)
        share = np.clip(t / length, 0.0, 1.0)
        n = dx * out[0] + dy * out[1] + dz * out[2]
        v = dx * vertical[0] + dy * vertical[1] + dz * vertical[2]
        r_n = thick[i] + (thick[i + 1] - thick[i]) * share
        r_v = high[i] + (high[i + 1] - high[i]) * share
        level = np.sqrt((n / r_n) ** 2 + (v / r_v) ** 2 + (beyond / r_n) ** 2)
        slope = np.sqrt((n / r_n**2) ** 2 + (v / r_v**2) ** 2 + (beyond / r_n**2) ** 2)
        parts.append((box, level * (level - 1.0) / np.maximum(slope, 1e-3)))
    return parts


def paint_parts(canvas: Voxels, parts: list[tuple[Box, Array]], bone: Bone, tissue: str) -> None:
    """Merge the boxes of one bone and paint it once, so that its segments do not carve each other."""
    if not parts:
        return
    low = [min(box.at[a].start for box, _ in parts) for a in range(3)]
    high = [max(box.at[a].stop for box, _ in parts) for a in range(3)]
    at = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    whole = np.full([last - first for first, last in zip(low, high, strict=True)], 20.0, np.float32)
    for box, distance in parts:
        s, t, u = (slice(c.start - f, c.stop - f) for c, f in zip(box.at, low, strict=True))
        view = whole[s, t, u]
        np.minimum(view, distance, out=view)
    x, y, z = (canvas.axes[0][at[0]], canvas.axes[1][:, at[1]], canvas.axes[2][:, :, at[2]])
    canvas.fill_bone(Box(at, x, y, z), whole, bone, tissue)


def sternum_points(profile: Profile) -> Array:
    """Points (4, 3): top of the manubrium, sternal angle, end of the body, tip of the xiphoid."""
    heights = [height_of(profile.spine, level) for level in (9.6, 11.4, 15.8, 17.0)]
    points = []
    for z in heights:
        x, y, _, b = (float(v) for v in profile.cage(np.array(z)))
        points.append((x, y + b - 5.0, z))
    return np.array(points)


def paint_ribs(
    canvas: Voxels,
    poses: dict[int, tuple[Pose, VertebraShape]],
    profile: Profile,
    bone: Bone,
    rng: np.random.Generator,
) -> None:
    """Ribs of the thoracic vertebrae in `poses` (rib number to pose and shape) and their cartilage."""
    sternum = sternum_points(profile)
    calcified = float(rng.uniform(60, 260))
    for side in (1, -1):
        below: Array | None = None
        for number in sorted(poses, reverse=True):
            pose, shape = poses[number]
            path, normals = rib_line(pose, shape, number, side, profile, rng)
            s = np.linspace(0, 1, len(path))
            grow = np.minimum(1.0, 0.75 + 1.5 * s)
            small = {1: 0.9, 11: 0.85, 12: 0.75, 13: 0.7}.get(number, 1.0)
            thick, high = 3.4 * small * np.ones_like(s), 6.2 * small * grow
            if number == 1:
                thick, high = thick + 2.0, high + 1.0
            thick[:2] = 4.5 * small
            if number >= 11:
                thick[-1], high[-1] = 1.8, 2.6
            paint_parts(canvas, ribbon(canvas, path, normals, thick, high), bone, "rib")
            if number <= 10:
                target = _cartilage_target(number, side, sternum, below)
                if target is not None:
                    _paint_cartilage(canvas, path[-1], target, calcified, profile)
                below = path[-1]


def _cartilage_target(number: int, side: int, sternum: Array, below: Array | None) -> Array | None:
    """Where the cartilage of a rib goes: its place beside the sternum, for ribs 8 to 10 the one of rib 7."""
    share = min(max((number - 1.0) / 6.0, 0.0), 1.0)
    z = sternum[0, 2] - 8.0 + share * (sternum[2, 2] - sternum[0, 2] + 8.0)
    y = np.interp(z, sternum[::-1, 2], sternum[::-1, 1])
    reach = 24.0 if number == 1 else 19.0
    return np.array([sternum[0, 0] + side * (reach + (10.0 if number > 7 else 0.0)), y, z - 4.0 * max(number - 7, 0)])


def _paint_cartilage(canvas: Voxels, start: Array, end: Array, hu: float, profile: Profile) -> None:
    """A rounded bar from the bone end of a rib to its target, bowed along the chest wall."""
    share = np.linspace(0, 1, max(int(np.linalg.norm(end - start) / 10), 2) + 1)[:, None]
    path = start + share * (end - start)
    x0, y0, a, b = profile.cage(path[:, 2])
    across = np.clip(np.abs(path[:, 0] - x0) / (a - 4.0), 0, 0.98)
    path[:, 1] = np.maximum(path[:, 1], y0 + (b - 4.0) * (1 - across**2.4) ** (1 / 2.4))
    for p, q in zip(path, path[1:], strict=False):
        box = canvas.box(np.minimum(p, q) - 8, np.maximum(p, q) + 8)
        if box is not None:
            d = capsule(box.x, box.y, box.z, p, q, 4.6, 4.6, (1, 1, 1.25))
            value = 95.0 + hu * np.clip(canvas.texture(box, canvas.coarse) - 0.6, 0, 1.5)
            canvas.fill(box, d, value, "cartilage")


def paint_sternum(canvas: Voxels, profile: Profile, bone: Bone) -> None:
    """Manubrium, body and xiphoid."""
    top, angle, end, tip = sternum_points(profile)
    box = canvas.box(np.minimum(top, tip) - [40, 20, 15], np.maximum(top, tip) + [40, 60, 15])
    if box is None:
        return
    ax = np.abs(box.x - top[0])
    shift = [top[0], 0, 0]
    wide = capsule(ax, box.y, box.z, top - shift + [20, 0, -2], top - shift + [4, 0, -8], 6.5, 7.0, (1.0, 0.9, 1.5))
    d = smooth_union(wide, capsule(ax, box.y, box.z, top - shift, angle - shift, 6.5, 5.5, (3.2, 1, 1)), 4.0)
    gap = angle + [0, 0, -9]
    d = np.minimum(d, capsule(ax, box.y, box.z, gap - shift - [0, 0, 4], end - shift, 5.2, 5.0, (3.0, 1, 1)))
    d = np.minimum(d, capsule(ax, box.y, box.z, end - shift - [0, 0, 8], tip - shift, 3.5, 2.5, (1.8, 1, 1)))
    canvas.fill_bone(box, d, bone, "sternum")


def shoulder_points(profile: Profile, side: int, raise_mm: float) -> dict[str, Array]:
    """Landmarks of one shoulder girdle; `raise_mm` lifts it, as with arms overhead."""
    spine = profile.spine
    s = spine.scale
    z1, z3, z7 = (height_of(spine, level) for level in (8.0, 10.0, 14.0))
    x3, y3, a3, b3 = (float(v) for v in profile.cage(np.array(z3)))
    x7, y7, a7, b7 = (float(v) for v in profile.cage(np.array(z7)))
    manubrium = sternum_points(profile)[0]
    lift = np.array([-0.15 * raise_mm, 0.0, raise_mm])
    glenoid = np.array([x3 + side * 140 * s, y3 - 0.25 * b3, z3 + 10]) + lift * [side, 1, 1]
    return {
        "clavicle": manubrium + [side * 26, 0, 4],
        "bow": manubrium + np.array([side * 75 * s, -4, 16]) + 0.5 * lift * [side, 1, 1],
        "acromion": np.array([x3 + side * 152 * s, y3 - 0.45 * b3, z1 + 14]) + lift * [side, 1, 1],
        "glenoid": glenoid,
        "upper": np.array([x3 + side * 78 * s, y3 - b3 - 14, z1 - 6]) + 0.3 * lift * [side, 1, 1],
        "lower": np.array([x7 + side * 100 * s, y7 - 0.86 * b7 - 16, z7]) + lift * [side * -2, 1, 0.6],
        "head": glenoid + [side * 24, 2, 2],
    }


def paint_shoulders(canvas: Voxels, profile: Profile, bone: Bone, arms: str, rng: np.random.Generator) -> None:
    """Clavicle, scapula and humerus of both sides, with muscle and fat around the arms."""
    up = arms == "up"
    for side in (1, -1):
        p = shoulder_points(profile, side, 38.0 if up else float(rng.uniform(-5, 10)))
        shaft = p["head"] + np.array([side * 26, 10, 190 if up else -280]) * profile.spine.scale
        if up:
            shaft[0] -= side * 30
        _paint_arm(canvas, p, shaft, side)
        _paint_girdle(canvas, p, bone)
        box = canvas.box(np.minimum(p["head"], shaft) - 32, np.maximum(p["head"], shaft) + 32)
        if box is not None:
            head = np.sqrt((box.x - p["head"][0]) ** 2 + (box.y - p["head"][1]) ** 2 + (box.z - p["head"][2]) ** 2)
            neck = p["head"] + 0.12 * (shaft - p["head"]) + [side * 6, 0, 0]
            d = smooth_union(head - 22.5, capsule(box.x, box.y, box.z, neck, shaft, 14.0, 10.5), 8.0)
            canvas.fill_bone(box, d, bone, "shoulder")


def _paint_arm(canvas: Voxels, p: dict[str, Array], shaft: Array, side: int) -> None:
    """Soft tissue of the upper arm and the shoulder."""
    outer = p["head"] + [side * 4, 0, -4]
    for radius, hu, tissue in ((52.0, -100.0, "fat"), (43.0, 52.0, "muscle")):
        box = canvas.box(np.minimum(outer, shaft) - radius, np.maximum(outer, shaft) + radius)
        if box is None:
            continue
        d = capsule(box.x, box.y, box.z, outer, shaft, radius, 0.92 * radius)
        outside = canvas.hu[box.at] < (-300 if tissue == "fat" else -60)
        lung = canvas.tissues[box.at] == TISSUES["lung"]
        canvas.fill(box, np.where(outside & ~lung, d, 20.0), hu, tissue)


def _paint_girdle(canvas: Voxels, p: dict[str, Array], bone: Bone) -> None:
    """Clavicle and scapula."""
    points = np.stack([p["clavicle"], p["bow"], p["acromion"]])
    box = canvas.box(points.min(0) - 14, points.max(0) + 14)
    if box is not None:
        d = capsule(box.x, box.y, box.z, p["clavicle"], p["bow"], 9.0, 6.0)
        d = smooth_union(d, capsule(box.x, box.y, box.z, p["bow"], p["acromion"], 6.0, 7.0), 3.0)
        canvas.fill_bone(box, d, bone, "shoulder")
    points = np.stack([p["upper"], p["lower"], p["glenoid"], p["acromion"]])
    box = canvas.box(points.min(0) - 20, points.max(0) + 20)
    if box is None:
        return
    x, y, z = box.x, box.y, box.z
    d = plate(x, y, z, (p["upper"], p["lower"], p["glenoid"]), 2.0)
    meat = np.where(canvas.tissues[box.at] == TISSUES["fat"], d - 12.0, 20.0)  # supra-, infraspinatus, subscapularis
    canvas.fill(box, meat, 54.0 + 9.0 * canvas.texture(box, canvas.fine), "muscle")
    d = smooth_union(d, capsule(x, y, z, p["lower"], p["glenoid"], 4.0, 6.0), 3.0)
    d = smooth_union(d, capsule(x, y, z, p["upper"], p["lower"], 2.5, 4.0), 2.0)
    neck = p["glenoid"] + 0.12 * (p["upper"] - p["glenoid"])
    d = smooth_union(d, capsule(x, y, z, neck, p["glenoid"], 9.0, 12.0, (1, 1, 1.3)), 4.0)
    root = 0.75 * p["upper"] + 0.25 * p["lower"]
    spine_end = p["acromion"] + [0, -8, -8]
    d = smooth_union(d, capsule(x, y, z, root, spine_end, 3.5, 6.0, (1, 2.0, 1)), 3.0)
    coracoid = p["glenoid"] + [0, 30, 14]
    d = smooth_union(d, capsule(x, y, z, neck + [0, 4, 12], coracoid, 6.5, 5.5), 3.0)
    canvas.fill_bone(box, d, bone, "shoulder")
