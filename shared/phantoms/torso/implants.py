"""Metal: pedicle screws with rods, and hip prostheses."""

from __future__ import annotations

import numpy as np

from ..sdf import Array, capsule
from .canvas import Voxels
from .skeleton import Vertebra, femoral_head, pelvic_pose
from .spine_curve import Spine

METAL_HU = 3500.0


def bar(canvas: Voxels, start: Array, end: Array, radius: float, hu: float = METAL_HU) -> None:
    """A metal rod between two points in mm."""
    box = canvas.box(np.minimum(start, end) - radius - 3, np.maximum(start, end) + radius + 3)
    if box is not None:
        d = capsule(box.x, box.y, box.z, start, end, radius, radius)
        canvas.fill(box, d, hu, "metal", keep_bone=False)


def paint_screws(canvas: Voxels, vertebrae: list[Vertebra]) -> None:
    """A pair of pedicle screws in each vertebra (labels stay those of the bone) and two rods."""
    for side in (1, -1):
        heads = []
        for vertebra in vertebrae:
            s = vertebra.shape
            x = s.canal_x + s.pedicle_x
            tip = vertebra.pose.to_world([side * 0.55 * x, 0.5 * s.body_y, s.pedicle_up])
            head = vertebra.pose.to_world([side * (x + 3), s.lower_y - 6, s.pedicle_up])
            bar(canvas, tip, head, 2.8)
            bar(canvas, head, head + [0, -7, 0], 5.5)
            heads.append(head + [0, -5, 0])
        for start, end in zip(heads, heads[1:], strict=False):
            bar(canvas, start, end, 2.9)


def paint_hip_prosthesis(canvas: Voxels, spine: Spine, side: int) -> None:
    """Cup, head, neck and stem of a total hip replacement, side +1 right."""
    pose, s = pelvic_pose(spine), spine.scale
    head = femoral_head(spine, side)
    neck = pose.to_world(np.array([side * 122, 22, -116]) * s)
    end = pose.to_world(np.array([side * 124, 18, -250]) * s)
    bar(canvas, head, head + [0.1, 0, 0], 25.0 * s, 3000.0)
    bar(canvas, head, neck, 7.0)
    bar(canvas, neck, neck + 0.35 * (end - neck), 10.0)
    bar(canvas, neck, end, 7.0)
