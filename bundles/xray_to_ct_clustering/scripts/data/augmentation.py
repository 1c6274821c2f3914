"""New patients and new acquisitions from a few CTs: shape, densities, cameras and the look of the X-rays are drawn."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..shared.geometry.deform import Deformation, random_controls, sample
from ..shared.geometry.hounsfield import AIR_HU
from ..shared.networks.clustering.biplanar import BiplanarGeometry
from .patient_ct import PatientCT

CONTROLS = 5  # points of the spline along each axis of the cube
WARP_SHARE = 0.3  # largest displacement over the distance of these points; 0.4 could fold
SCALE = 0.16  # largest change of size, for all axes together and half as much for each alone
TURN_DEG = 7.0
SHIFT_MM = (15.0, 15.0, 40.0)
LUNG_TOP_HU, SOFT_TOP_HU = -400.0, 160.0  # between these lie fat, muscle and organs


def between(low: float, high: float, generator: torch.Generator) -> float:
    """A number in [low, high)."""
    return low + (high - low) * float(torch.rand(1, generator=generator))


def rotation(turn_deg: float, generator: torch.Generator) -> Tensor:
    """Rotation (3, 3) float64 by a random angle of up to ``turn_deg`` about each of the three axes."""
    matrix = torch.eye(3, dtype=torch.float64)
    for axis in range(3):
        angle = math.radians(between(-turn_deg, turn_deg, generator))
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = torch.eye(3, dtype=torch.float64)
        step[first, first] = step[second, second] = math.cos(angle)
        step[first, second], step[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ step
    return matrix


def random_deformation(patient: PatientCT, size: int, strength: float, generator: torch.Generator) -> Deformation:
    """From voxels of a cube of ``size``³ to voxels of the patient: scaled, turned, moved and warped at random.

    Args:
        patient: its isocentre becomes the middle of the cube, up to the shift.
        size: voxels of the cube's edge, of the same spacing as the patient.
        strength: 1 for all of the ranges above, 0 for none.
        generator: what is drawn depends on it alone.
    """
    whole = math.exp(strength * between(-SCALE, SCALE, generator))
    scales = [whole * math.exp(strength * between(-SCALE / 2, SCALE / 2, generator)) for _ in range(3)]
    linear = rotation(strength * TURN_DEG, generator) @ torch.diag(torch.tensor(scales, dtype=torch.float64))
    shift = [strength * between(-s, s, generator) / patient.spacing_mm for s in SHIFT_MM]
    source = torch.tensor(patient.middle, dtype=torch.float64) + torch.tensor(shift, dtype=torch.float64)
    target = torch.full((3,), (size - 1) / 2, dtype=torch.float64)
    matrix = torch.cat([linear, (source - linear @ target)[:, None]], dim=1)
    magnitude = strength * WARP_SHARE * (size - 1) / (CONTROLS - 1) * between(0.2, 1.0, generator)
    controls = random_controls(generator, 3, CONTROLS, magnitude, (size,) * 3)
    return Deformation(matrix, controls, (size,) * 3)


def warped(patient: PatientCT, deformation: Deformation) -> Tensor:
    """HU float32 of the cube of a deformation. The scan goes on above and below as it ends; at the sides is air."""
    grid = deformation.grid()
    grid[..., 2] = grid[..., 2].clamp(0, patient.hu.shape[2] - 1)
    values = patient.hu[None, None].float() - AIR_HU
    return sample(values, grid[None])[0, 0] + AIR_HU


def warped_labels(patient: PatientCT, deformation: Deformation) -> Tensor:
    """Labels uint8 of the cube of a deformation, all 0 without a label map."""
    if patient.labels is None:
        return torch.zeros(deformation.output_shape, dtype=torch.uint8)
    grid = deformation.grid()
    grid[..., 2] = grid[..., 2].clamp(0, patient.hu.shape[2] - 1)
    return sample(patient.labels[None, None].float(), grid[None], "nearest")[0, 0].to(torch.uint8)


def varied_densities(hu: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """HU (X, Y, Z) whose lungs, soft tissue and bone are a little more or less dense than they were.

    A continuous, increasing curve through air, the limits between the tissues and the densest bone.
    """
    lung = strength * between(-60.0, 60.0, generator)
    soft = 1 + strength * between(-0.25, 0.25, generator)
    bone = math.exp(strength * between(-0.35, 0.3, generator))
    share = ((hu - AIR_HU) / (LUNG_TOP_HU - AIR_HU)).clamp(0, 1)
    hu = hu + lung * 4 * share * (1 - share)  # greatest in the middle of the lungs' range, none at its ends
    middle = hu.clamp(-120.0, SOFT_TOP_HU)
    hu = hu + (soft - 1) * middle * (hu > -120.0) + (soft - 1) * -120.0 * (hu <= -120.0) * share
    return hu + (bone - 1) * (hu - SOFT_TOP_HU).clamp(min=0)


def random_geometry(base: BiplanarGeometry, strength: float, generator: torch.Generator) -> BiplanarGeometry:
    """Cameras with other distances; the pixels are scaled so that the field at the isocentre stays."""
    if base.parallel:
        return base
    behind = (base.sdd_mm - base.source_to_isocenter_mm) * math.exp(strength * between(-0.3, 0.3, generator))
    source = base.source_to_isocenter_mm * math.exp(strength * between(-0.2, 0.15, generator))
    sdd = source + behind
    return dataclasses.replace(
        base, sdd_mm=sdd, source_to_isocenter_mm=source, pixel_mm=base.isocenter_pixel_mm * sdd / source
    )


def varied_look(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Images (2, rows, columns) in [0, 1] with another tone curve, blur and noise, each view for itself."""
    looks = []
    for image in images:
        gamma = math.exp(strength * between(-0.2, 0.2, generator))
        image = image.clamp(min=0) ** gamma + image.clamp(max=0)
        if between(0, 1, generator) < 0.3:
            weight = strength * between(0.0, 0.5, generator)
            blurred = F.avg_pool2d(image[None], 3, stride=1, padding=1, count_include_pad=False)[0]
            image = (1 - weight) * image + weight * blurred
        noise = torch.randn(image.shape, generator=generator)
        looks.append(image + strength * between(0.0, 0.02, generator) * noise)
    return torch.stack(looks)
