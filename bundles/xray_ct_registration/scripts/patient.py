"""The CT of a patient as the registration sees it: attenuation on a grid, coarser copies, points to measure by."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.transforms import LoadImage
from torch import Tensor

from .shared.drr.attenuation import hu_to_attenuation
from .shared.drr.geometry import Detector, as_batch, invert_rigid
from .shared.drr.rendering import render
from .shared.geometry.frames import plain_tensor, transform_points, voxel_sizes
from .shared.io.errors import CaseError
from .shared.io.volumes import VolumeReader

BONE_HU = 250.0
TARGETS = 400  # points of the patient by which a pose is measured
TISSUE_HU = -300.0  # anything but air and lung
ALONE = 0.4  # share of bone in all tissue from which on a CT holds bone alone; 0.08 in a chest
AIR_HU = -400.0  # a CT whose maximum lies below it holds no patient


@dataclass(frozen=True)
class PatientModel:
    """A CT prepared for rendering.

    Attributes:
        attenuation: (1, X, Y, Z) float32 [1/mm].
        affine: (4, 4) float64, voxel indices to RAS mm.
        isocenter: (3,) float64 [RAS mm], the centre of the grid: the origin of pose parameters.
        targets: (N, 3) float64 [RAS mm], points of the patient's skeleton.
        path: where it comes from.
        alone: whether it is bone cut out of its surroundings.
    """

    attenuation: Tensor
    affine: Tensor
    isocenter: Tensor
    targets: Tensor
    path: str = ""
    alone: bool = False

    @property
    def spacing_mm(self) -> Tensor:
        """Voxel sizes (3,) [mm]."""
        return voxel_sizes(self.affine)

    @property
    def radius_mm(self) -> float:
        """Distance from the isocentre to the corners [mm]."""
        size = torch.tensor(self.attenuation.shape[1:], dtype=torch.float64)
        return float((size * self.spacing_mm).norm() / 2)

    @property
    def extent_mm(self) -> float:
        """Largest distance of a target from the isocentre [mm]."""
        return float((self.targets - self.isocenter).norm(dim=-1).max())

    def coarser(self, spacing_mm: float) -> PatientModel:
        """The same CT with voxels averaged to about ``spacing_mm``; the same object where they are that large."""
        factors = [max(1, int(spacing_mm / float(size) + 0.5)) for size in self.spacing_mm]
        factors = [min(f, n) for f, n in zip(factors, self.attenuation.shape[1:], strict=True)]
        if max(factors) == 1:
            return self
        # what a whole block lacks at the end is air, as beyond the volume
        pad = [(-n) % f for f, n in zip(factors, self.attenuation.shape[1:], strict=True)]
        padded = F.pad(self.attenuation[None], [0, pad[2], 0, pad[1], 0, pad[0]])
        pooled = F.avg_pool3d(padded, factors)[0].contiguous()
        scale = torch.diag(torch.tensor([*factors, 1.0], dtype=torch.float64))
        scale[:3, 3] = (torch.tensor(factors, dtype=torch.float64) - 1) / 2
        return replace(self, attenuation=pooled, affine=self.affine @ scale)

    def targets_in(self, camera_to_world: Tensor) -> Tensor:
        """The targets (N, 3) [mm] in the frame of a camera (4, 4)."""
        inverse = invert_rigid(camera_to_world)
        return transform_points(inverse, self.targets)

    def to(self, device: torch.device) -> PatientModel:
        """On a device; the geometry stays in float64 on the CPU."""
        return replace(self, attenuation=self.attenuation.to(device))


def _targets(hu: Tensor, affine: Tensor) -> Tensor:
    """`TARGETS` points of the bone (HU above `BONE_HU`), evenly taken; the grid's corners where there is no bone."""
    found = torch.nonzero(hu > BONE_HU)
    if len(found) < TARGETS:
        ends = [torch.tensor([0.0, n - 1.0]) for n in hu.shape]
        found = torch.cartesian_prod(*ends)
    generator = torch.Generator().manual_seed(0)
    chosen = found[torch.randperm(len(found), generator=generator)[:TARGETS]].double()
    return transform_points(affine, chosen)


def make_patient(
    volume: MetaTensor, mask: Tensor | None = None, energy_kev: float = 70.0, path: str = ""
) -> PatientModel:
    """Patient of a CT.

    Args:
        volume: (1, X, Y, Z) [HU] with its affine.
        mask: (1, X, Y, Z); where given, what lies outside of it (zero) is left out of the rendering.
        energy_kev: effective energy of the X-ray.
        path: where it comes from.
    """
    hu = plain_tensor(volume).float()
    affine = volume.affine.double().cpu()
    attenuation = hu_to_attenuation(hu, energy_kev)
    if mask is not None:
        attenuation = attenuation * (plain_tensor(mask) > 0)
        hu = torch.where(plain_tensor(mask) > 0, hu, -1000.0)
    centre = (torch.tensor(hu.shape[1:], dtype=torch.float64) - 1) / 2
    isocenter = transform_points(affine, centre)
    bone_share = float((hu > BONE_HU).sum()) / max(1.0, float((hu > TISSUE_HU).sum()))
    alone = mask is not None or bone_share > ALONE
    return PatientModel(attenuation.contiguous(), affine, isocenter, _targets(hu[0], affine), path, alone)


def load_patient(
    ct: str | os.PathLike, mask: str | os.PathLike | None = None, energy_kev: float = 70.0
) -> PatientModel:
    """Patient of a CT file or DICOM folder, and of a label map on the same grid.

    Raises:
        CaseError: where a file cannot be read, is no CT, or the label map has another grid.
    """
    if not os.path.exists(ct):
        raise CaseError(ct, "no such CT", "give --ct a NIfTI, NRRD or MHA file or the folder of a DICOM series")
    load = LoadImage(reader=VolumeReader(), ensure_channel_first=True, image_only=True)
    volume = load(str(ct))
    if float(volume.max()) < AIR_HU:
        raise CaseError(ct, "holds nothing but air", "give a CT in Hounsfield units")
    labels = None
    if mask is not None:
        if not os.path.exists(mask):
            raise CaseError(mask, "no such label map", "give --mask a label map on the grid of the CT")
        labels = load(str(mask))
        same = labels.shape == volume.shape and torch.allclose(labels.affine, volume.affine, atol=1e-3)
        if not same:
            raise CaseError(mask, "does not lie on the grid of the CT", "resample it to the CT with preprocess.json")
    return make_patient(volume, labels, energy_kev, str(ct))


def reaching_detector(detector: Detector, distance_mm: float) -> Detector:
    """A detector with the same rays, moved back to at least ``distance_mm`` from the source.

    A pose may let part of the patient lie behind the detector's plane; the image then still counts all of it, and
    does not jump when a voxel crosses the plane. Pixels, and so all image coordinates, stay the same.
    """
    factor = max(1.0, distance_mm / detector.sdd)
    return Detector(
        detector.rows,
        detector.columns,
        (detector.pixel_mm[0] * factor, detector.pixel_mm[1] * factor),
        detector.sdd * factor,
        (detector.offset_mm[0] * factor, detector.offset_mm[1] * factor),
    )


def render_patient(
    patient: PatientModel, camera_to_world: Tensor, detector: Detector, backend: str | None = None
) -> Tensor:
    """Attenuation integrals (B, 1, rows, columns) of a patient, all of it, whatever the detector's distance."""
    pose = as_batch(camera_to_world)
    with torch.no_grad():
        depth = float((pose[:, :3, 3].cpu().double() - patient.isocenter).norm(dim=-1).max()) + patient.radius_mm
    return render(patient.attenuation, pose, reaching_detector(detector, depth), patient.affine, backend)
