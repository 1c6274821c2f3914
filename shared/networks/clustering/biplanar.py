"""The two cameras of a frontal and a lateral X-ray, and the voxel grid they look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...drr.geometry import Detector, projection_matrix
from ...drr.pose import euler_to_pose

# base view, turn about the body axis: the side that lies against the detector; both images show the patient facing left
LATERALS = {"left": ("PA", math.pi / 2), "right": ("AP", math.pi / 2)}
FAR_MM = 1e6  # from here on a beam is parallel: over 400 mm its magnification varies by 0.04 %
BEHIND_MM = 1000.0  # isocentre to detector of a parallel beam, behind every patient


def volume_affine(volume_size: Sequence[int], spacing_mm: float) -> Tensor:
    """Affine (4, 4) float64, voxel index to RAS mm, of a volume centred on the isocentre with axes along R, A, S."""
    affine = torch.diag(torch.tensor([spacing_mm, spacing_mm, spacing_mm, 1.0], dtype=torch.float64))
    affine[:3, 3] = -spacing_mm * (torch.tensor(list(volume_size), dtype=torch.float64) - 1) / 2
    return affine


@dataclass(frozen=True)
class BiplanarGeometry:
    """Frontal and lateral view of one isocentre, the world origin, where the volume is centred.

    Images are shown as radiologists read them: patient's right on the left of the frontal image, facing left in the
    lateral one.

    Attributes:
        rows: pixels of the images from top to bottom.
        columns: pixels of the images from left to right.
        pixel_mm: distance of the pixels on the detector.
        sdd_mm: source to detector.
        source_to_isocenter_mm: source to the centre of the volume.
        frontal: "PA" (the usual chest X-ray) or "AP" (bedside).
        lateral: side of the patient that lies against the detector, "left" (usual) or "right".
        parallel: parallel beam: the distances do not count and ``pixel_mm`` is that at the isocentre.

    Raises:
        ValueError: for an unknown view or an isocentre that is not between source and detector.
    """

    rows: int = 128
    columns: int = 128
    pixel_mm: float = 3.2
    sdd_mm: float = 1800.0
    source_to_isocenter_mm: float = 1600.0
    frontal: str = "PA"
    lateral: str = "left"
    parallel: bool = False

    def __post_init__(self) -> None:
        if self.frontal not in ("PA", "AP") or self.lateral not in LATERALS:
            raise ValueError(f"views {self.frontal!r}, {self.lateral!r}: 'PA' or 'AP', and 'left' or 'right'")
        if not 0 < self.source_to_isocenter_mm <= self.sdd_mm:
            raise ValueError(
                f"the isocentre at {self.source_to_isocenter_mm} mm is not between source and detector "
                f"(SDD {self.sdd_mm} mm)"
            )

    @property
    def distance_mm(self) -> float:
        """Source to isocentre of the beam in use."""
        return FAR_MM if self.parallel else self.source_to_isocenter_mm

    @property
    def isocenter_pixel_mm(self) -> float:
        """Distance of the pixels as seen at the isocentre."""
        return self.pixel_mm if self.parallel else self.pixel_mm * self.source_to_isocenter_mm / self.sdd_mm

    def detector(self) -> Detector:
        """The detector of both views."""
        sdd = FAR_MM + BEHIND_MM if self.parallel else self.sdd_mm
        pixel_mm = self.isocenter_pixel_mm * sdd / self.distance_mm
        return Detector(self.rows, self.columns, (pixel_mm, pixel_mm), sdd)

    def poses(self) -> Tensor:
        """Camera poses (2, 4, 4) float64 of the frontal and the lateral view [RAS mm]."""
        return torch.cat([self._pose(self.frontal, 0.0), self._pose(*LATERALS[self.lateral])])

    def _pose(self, base: str, turn: float) -> Tensor:
        side = 1.0 if base == "AP" else -1.0  # of the source
        angles = torch.tensor([[turn, 0.0, 0.0]], dtype=torch.float64)
        return euler_to_pose(angles, torch.tensor([[0.0, side * self.distance_mm, 0.0]], dtype=torch.float64), base)

    def projections(self) -> Tensor:
        """Projections (2, 3, 4) float32 of both views, see `normalized_projection`."""
        return normalized_projection(self.poses(), self.detector())


def normalized_projection(camera_to_world: Tensor, detector: Detector) -> Tensor:
    """Matrices (V, 3, 4) float32 from RAS mm to homogeneous image coordinates, whose outer pixel edges are -1 and 1.

    In these coordinates the matrix does not depend on the resolution of the image. The generator takes
    the views of a calibrated case in this form.
    """
    matrix = projection_matrix(camera_to_world.double(), detector)
    u, v, depth = matrix.unbind(dim=1)
    columns, rows = detector.columns, detector.rows
    u = (2 * u + depth) / columns - depth
    v = (2 * v + depth) / rows - depth
    scale = depth[:, :3].norm(dim=-1)[:, None]  # depth in mm
    return torch.stack([u / scale, v / scale, depth / scale], dim=1).float()
