"""Soft parts around the spine: muscles of the back, psoas, discs, dural sac; and soft organs in general."""

from __future__ import annotations

import numpy as np

from ..sdf import Array, capsule, ellipse, ellipsoid, smooth_union
from .canvas import TISSUES, Voxels
from .profile import Profile


def paint_back_muscles(canvas: Voxels, profile: Profile) -> None:
    """Erector spinae and psoas as firm bellies with a fat sheath."""
    spine = profile.spine
    for side in (1, -1):
        for levels, offset, radii, tissue in (
            (np.arange(8.0, 25.5, 1.0), (27, -44), (21, 15), "muscle"),
            (np.arange(19.8, 26.5, 0.8), (38, -4), (15, 18), "muscle"),
        ):
            for p, q in zip(levels, levels[1:], strict=False):
                a, b = spine.at(min(p, 26)), spine.at(min(q, 26))
                grow = np.clip((q - levels[0]) / 4.0, 0.35, 1.0)
                shift = np.array([side * offset[0], offset[1], 0.0]) * spine.scale
                start, end = a + shift, b + shift
                if offset[1] > -20:
                    start, end = start + [side * 8 * grow, 0, 0], end + [side * 8 * grow, 0, 0]
                margin = max(radii) + 3
                box = canvas.box(np.minimum(start, end) - margin, np.maximum(start, end) + margin)
                if box is None:
                    continue
                radius = radii[1] * grow * spine.scale
                d = capsule(box.x, box.y, box.z, start, end, radius, radius, (radii[0] / radii[1], 1, 1))
                value = 56.0 + 8.0 * canvas.texture(box, canvas.fine)
                lung = canvas.tissues[box.at] == TISSUES["lung"]
                canvas.fill(box, np.where(lung, 20.0, d), value, tissue)


def paint_discs_and_canal(
    canvas: Voxels, profile: Profile, disc_hu: float, sizes: dict[int, tuple[float, float]]
) -> None:
    """Intervertebral discs between the bodies and the dural sac behind them; bones are painted over both.

    Args:
        sizes: half width and half depth of the end plates per label.
    """
    spine = profile.spine
    poses = [*zip(spine.labels, spine.poses, strict=True), (26, spine.sacrum)]
    for (label, upper), (lower_label, lower) in zip(poses[1:], poses[2:], strict=False):
        width, depth = sizes[label]
        if lower_label in sizes:
            width, depth = (width + sizes[lower_label][0]) / 2, (depth + sizes[lower_label][1]) / 2
        middle = (upper.centre + lower.centre) / 2
        normal = upper.centre - lower.centre
        normal = normal / np.linalg.norm(normal)
        reach = max(width, depth) + 4
        box = canvas.box(middle - reach, middle + reach)
        if box is None:
            continue
        dx, dy, dz = box.x - middle[0], box.y - middle[1], box.z - middle[2]
        along = dx * normal[0] + dy * normal[1] + dz * normal[2]
        d = ellipse(dx, dy - along * normal[1], (0, 0), (width - 0.5, depth - 0.5), 2.4)
        d = np.maximum(d, np.abs(along) - 8.0)
        canvas.fill(box, d, disc_hu + 10.0 * canvas.texture(box, canvas.fine), "disc")
    for (label, upper), (_, lower) in zip(poses, poses[1:], strict=False):
        depth = sizes.get(label, (0, 8.0))[1]
        shift = np.array([0.0, -depth - 8.0, 0.0])
        start, end = upper.to_world(shift), lower.to_world(shift)
        box = canvas.box(np.minimum(start, end) - 14, np.maximum(start, end) + 14)
        if box is None:
            continue
        d = capsule(box.x, box.y, box.z, start, end, 9.5, 9.5)
        canvas.fill(box, d, -40.0, "canal")
        d = capsule(box.x, box.y, box.z, start, end, 6.5, 6.5, (1.15, 1, 1))
        canvas.fill(box, d, 22.0 + 6.0 * canvas.texture(box, canvas.fine), "canal")


def paint_ellipsoid(canvas: Voxels, centre: Array, radii: Array, hu: float, tissue: str, rough: float = 8.0) -> None:
    """A soft organ; it does not replace lung or air outside the body."""
    box = canvas.box(np.asarray(centre) - radii - 3, np.asarray(centre) + radii + 3)
    if box is None:
        return
    d = ellipsoid(box.x, box.y, box.z, centre, radii)
    d = smooth_union(d + 1.0, d + 2.5 * canvas.texture(box, canvas.coarse) * min(1.0, min(radii) / 30), 2.0)
    banned = (canvas.tissues[box.at] == TISSUES["lung"]) | (canvas.tissues[box.at] == 0)
    value = hu + rough * canvas.texture(box, canvas.fine) + 0.5 * rough * canvas.texture(box, canvas.coarse)
    canvas.fill(box, np.where(banned, 20.0, d), value, tissue)
