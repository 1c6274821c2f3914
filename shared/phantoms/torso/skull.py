"""A rough skull, jaw and airway: what a scan of the neck shows above the atlas."""

import numpy as np

from ..sdf import capsule, ellipsoid, smooth_union
from .canvas import Bone, Voxels
from .spine_curve import Spine


def paint_skull(canvas: Voxels, spine: Spine, bone: Bone) -> None:
    """Cranium with brain and condyles, mandible with teeth, pharynx."""
    atlas, s = spine.poses[0], spine.scale
    centre = atlas.centre + np.array([0, 14, 92]) * s
    reach = np.array([84.0, 110, 130]) * s
    box = canvas.box(centre - reach, centre + reach)
    if box is None:
        return
    x, y, z = (box.x - centre[0]) / s, (box.y - centre[1]) / s, (box.z - centre[2]) / s
    ax = np.abs(x)
    inner = ellipsoid(x, y, z, (0, -4, 4), (66, 84, 76))
    floor = -z - 52.0 - 0.22 * np.minimum(y, 60.0)
    inner = np.maximum(inner, floor)
    outer = smooth_union(inner - 6.5, ellipsoid(ax, y, z, (14.0, -14, -76), (8, 11, 9)), 4.0)  # with condyles
    hole = np.maximum(np.sqrt(x * x + (y + 28.0) ** 2) - 15.0, z + 30.0)  # foramen magnum
    shell = np.maximum(np.maximum(outer, -inner), -hole)
    canvas.fill(box, inner * s, 34.0 + 4 * canvas.texture(box, canvas.fine), "brain")
    face = ellipsoid(ax, y, z, (22, 62, -58), (22, 22, 22))
    sinus = ellipsoid(ax, y, z, (22, 62, -56), (17, 17, 17))
    jaw = capsule(ax, y, z, (48, 16, -62), (44, 26, -112), 4.0, 5.0, (1, 2.2, 1))
    jaw = smooth_union(jaw, capsule(ax, y, z, (44, 26, -112), (10, 82, -122), 5.5, 6.0, (1, 1, 1.9)), 3.0)
    shell = np.minimum(shell, np.minimum(np.maximum(face, -sinus), jaw))
    canvas.fill_bone(box, shell * s, bone, "skull")
    canvas.fill(box, sinus * s, -950.0, "airway")
    teeth = capsule(ax, y, z, (36, 44, -97), (8, 84, -99), 4.5, 4.0, (1, 1, 2.0))
    canvas.fill(box, teeth * s, 1400.0 + 300 * canvas.texture(box, canvas.coarse), "skull", keep_bone=False)
    throat = capsule(x, y, z, (0, 22, -60), (0, 20, -150), 8.0, 8.0, (1.4, 0.8, 1))
    canvas.fill(box, throat * s, -990.0, "airway")
