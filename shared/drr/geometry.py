"""Projective geometry of one X-ray: flat detector, camera pose, projection of points and rays.

Frames. World is RAS mm. The camera frame has its origin in the X-ray source, x along the detector's columns (image left
to right), y along its rows (image top to bottom), z towards the detector. ``camera_to_world`` (4, 4) maps camera to
world; its upper left 3x3 block is a rotation, or a rotation with one reflection (determinant -1) where the image is
shown mirrored, as a postero-anterior chest X-ray is. Pixels are (u, v) = (column, row) with pixel centres at integers,
so the first pixel's centre is (0, 0).

Images here are detector images: tensors (B, C, rows, columns), unlike the (C, X, Y) of the rest of the project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Detector:
    """Flat detector at a fixed distance from the source, perpendicular to the camera's z axis.

    Attributes:
        rows: number of pixel rows.
        columns: number of pixel columns.
        pixel_mm: distance between columns and between rows [mm] (not necessarily equal).
        sdd: source-to-detector distance [mm].
        offset_mm: principal point (where the z axis meets the detector) minus the detector's centre, along u and v
            [mm].

    Raises:
        ValueError: where a size or a distance is not positive.
    """

    rows: int
    columns: int
    pixel_mm: tuple[float, float]
    sdd: float
    offset_mm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"a detector needs at least one pixel, got {self.rows} x {self.columns}")
        if min(self.pixel_mm) <= 0 or self.sdd <= 0:
            raise ValueError(f"pixel size {self.pixel_mm} and SDD {self.sdd} have to be positive (mm)")

    @property
    def principal_point(self) -> tuple[float, float]:
        """(u, v) [pixel] where the camera's z axis meets the detector."""
        return (
            (self.columns - 1) / 2 + self.offset_mm[0] / self.pixel_mm[0],
            (self.rows - 1) / 2 + self.offset_mm[1] / self.pixel_mm[1],
        )

    def intrinsics(self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None) -> Tensor:
        """Intrinsic matrix (3, 3): camera mm to homogeneous (u, v) pixels."""
        (u0, v0), (du, dv) = self.principal_point, self.pixel_mm
        matrix = [[self.sdd / du, 0.0, u0], [0.0, self.sdd / dv, v0], [0.0, 0.0, 1.0]]
        return torch.tensor(matrix, dtype=dtype, device=device)

    def resized(self, rows: int, columns: int) -> Detector:
        """The same detector area with another number of pixels, as an image of it resampled to that size."""
        pixel_mm = (self.pixel_mm[0] * self.columns / columns, self.pixel_mm[1] * self.rows / rows)
        return Detector(rows, columns, pixel_mm, self.sdd, self.offset_mm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, read back by `from_dict`."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "mm_per_pixel": list(self.pixel_mm),
            "principal_point_offset_mm": list(self.offset_mm),
            "sdd": self.sdd,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Detector:
        """Detector from the values of `to_dict`."""
        pixel, offset = values["mm_per_pixel"], values["principal_point_offset_mm"]
        return cls(
            int(values["rows"]),
            int(values["columns"]),
            (float(pixel[0]), float(pixel[1])),
            float(values["sdd"]),
            (float(offset[0]), float(offset[1])),
        )

    @classmethod
    def from_intrinsics(cls, intrinsics: Tensor, rows: int, columns: int, sdd: float) -> Detector:
        """Detector with the intrinsic matrix ``intrinsics`` (3, 3; pixel centres at integers) at ``sdd`` mm.

        Raises:
            ValueError: where the matrix has skew, which a flat detector with perpendicular axes cannot have.
        """
        k = intrinsics.detach().double() / intrinsics[2, 2].double()
        if max(abs(k[0, 1].item()), abs(k[1, 0].item())) > 1e-6 * abs(k[0, 0].item()):
            raise ValueError("intrinsic matrix with skew")
        du, dv = sdd / k[0, 0].item(), sdd / k[1, 1].item()
        offset = ((k[0, 2].item() - (columns - 1) / 2) * du, (k[1, 2].item() - (rows - 1) / 2) * dv)
        return cls(rows, columns, (du, dv), sdd, offset)


def as_batch(camera_to_world: Tensor) -> Tensor:
    """Camera poses (4, 4) or (B, 4, 4) as (B, 4, 4).

    Raises:
        ValueError: for any other shape.
    """
    if camera_to_world.ndim == 2:
        camera_to_world = camera_to_world[None]
    if camera_to_world.ndim != 3 or camera_to_world.shape[1:] != (4, 4):
        raise ValueError(f"camera_to_world has to be (4, 4) or (B, 4, 4), got {tuple(camera_to_world.shape)}")
    return camera_to_world


def invert_rigid(matrix: Tensor) -> Tensor:
    """Inverse of rigid transforms (..., 4, 4), reflections included."""
    rotation = matrix[..., :3, :3].mT
    translation = -rotation @ matrix[..., :3, 3:]
    return torch.cat([torch.cat([rotation, translation], dim=-1), matrix[..., 3:, :]], dim=-2)


def projection_matrix(camera_to_world: Tensor, detector: Detector) -> Tensor:
    """Projection matrices P = K [R | t], (B, 3, 4), from world RAS mm to homogeneous (u, v) pixels."""
    pose = as_batch(camera_to_world)
    return detector.intrinsics(pose.dtype, pose.device) @ invert_rigid(pose)[:, :3]


def project_points(points: Tensor, camera_to_world: Tensor, detector: Detector) -> Tensor:
    """Pixels (B, N, 2) = (u, v) of points (N, 3) or (B, N, 3) [RAS mm]; NaN for points not in front of the source."""
    matrix = projection_matrix(camera_to_world, detector)
    homogeneous = points @ matrix[:, :, :3].mT + matrix[:, None, :, 3]
    depth = homogeneous[..., 2:]
    return torch.where(depth > 0, homogeneous[..., :2] / depth, torch.nan)


def pixels_to_world(pixels: Tensor, camera_to_world: Tensor, detector: Detector) -> Tensor:
    """World positions (B, N, 3) [RAS mm] on the detector plane of pixels (N, 2) or (B, N, 2) = (u, v)."""
    frame = ray_frame(camera_to_world, detector)
    return frame[:, None, 1] + pixels[..., :1] * frame[:, None, 2] + pixels[..., 1:] * frame[:, None, 3]


def ray_frame(camera_to_world: Tensor, detector: Detector) -> Tensor:
    """Rays of a view in compact form, differentiable in the pose.

    Returns:
        (B, 4, 3) [RAS mm]: source; centre of pixel (row 0, column 0); step to the next column; step to the next row.
        The ray of pixel (row i, column j) runs from the source to ``frame[1] + j * frame[2] + i * frame[3]``.
    """
    pose = as_batch(camera_to_world)
    (u0, v0), (du, dv) = detector.principal_point, detector.pixel_mm
    corner = [[0.0, 0.0, 0.0, 1.0], [-u0 * du, -v0 * dv, detector.sdd, 1.0], [du, 0.0, 0.0, 0.0], [0.0, dv, 0.0, 0.0]]
    return torch.tensor(corner, dtype=pose.dtype, device=pose.device) @ pose[:, :3].mT


def ray_frame_in_voxels(frame: Tensor, affine: Tensor) -> Tensor:
    """Ray frame (B, 4, 3) in voxel indices instead of RAS mm; ``affine`` (4, 4) maps voxels of the volume to RAS mm."""
    inverse = torch.linalg.inv(affine.to(frame.device, torch.float64)).to(frame.dtype)
    points = frame @ inverse[:3, :3].mT
    is_point = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=frame.dtype, device=frame.device)
    return points + is_point[:, None] * inverse[:3, 3]


def expand_rays(frame: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Source (B, 1, 3) and targets (B, rows * columns, 3), row by row, of a ray frame (B, 4, 3), in its unit."""
    j = torch.arange(columns, dtype=frame.dtype, device=frame.device)
    i = torch.arange(rows, dtype=frame.dtype, device=frame.device)
    targets = (
        frame[:, None, None, 1] + j[:, None] * frame[:, None, None, 2] + i[:, None, None] * frame[:, None, None, 3]
    )
    return frame[:, :1], targets.flatten(1, 2)
