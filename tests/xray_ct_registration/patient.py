"""A small procedural patient for tests of the registration: a body with lungs and asymmetric bones, 5 mm voxels."""

from __future__ import annotations

import functools

import numpy as np
import torch
from monai.data import MetaTensor

from bundles.xray_ct_registration.scripts.patient import PatientModel, make_patient, render_patient
from bundles.xray_ct_registration.scripts.pose_space import PoseSpace
from bundles.xray_ct_registration.scripts.views import RadiographView, make_view
from shared.drr.geometry import Detector

SIZE, SPACING_MM = 40, 5.0
DETECTOR = Detector(64, 64, (4.24, 4.24), 1020.0)
SPACE = PoseSpace(range_deg=(16.0, 8.0, 8.0), range_mm=(20.0, 40.0, 20.0))


def volume() -> MetaTensor:
    """CT (1, 40, 40, 40) [HU] with its affine to RAS mm."""
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * SPACING_MM
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    hu = np.full((SIZE,) * 3, -1000.0, dtype=np.float32)

    def paint(centre: tuple, radii: tuple, value: float) -> None:
        hu[(((points - centre) / radii) ** 2).sum(-1) < 1] = value

    paint((0, 0, 0), (90, 65, 95), 40.0)
    paint((-40, 5, 10), (28, 38, 60), -800.0)
    paint((42, 0, 0), (25, 35, 50), -800.0)
    rng = np.random.default_rng(1)
    for z in np.arange(-80, 81, 25.0):
        paint((0, -45, z), (14, 12, 8), 500.0)
    for _ in range(14):
        paint(tuple(rng.uniform(-70, 70, 3) * (1, 0.6, 1)), tuple(rng.uniform(6, 14, 3)), 900.0)
    affine = torch.diag(torch.tensor([SPACING_MM, SPACING_MM, SPACING_MM, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([30.0, -20.0, 400.0]) + float(axis[0])
    return MetaTensor(torch.from_numpy(hu)[None], affine=affine)


@functools.cache
def patient() -> PatientModel:
    """The patient of `volume`."""
    return make_patient(volume())


def view_at(
    parameters: torch.Tensor, detector: Detector = DETECTOR, camera_to_first: torch.Tensor | None = None
) -> RadiographView:
    """Noise-free X-ray of the patient at pose parameters (6,) of the first camera."""
    pose = SPACE.to_pose(parameters[None], patient().isocenter)
    if camera_to_first is not None:
        pose = pose @ camera_to_first
    return make_view(render_patient(patient(), pose, detector)[0, 0], detector, camera_to_first)


def pose_of(parameters: torch.Tensor) -> torch.Tensor:
    """Camera pose (4, 4) of parameters (6,)."""
    return SPACE.to_pose(parameters[None], patient().isocenter)[0]


def a_pose(seed: int = 0) -> torch.Tensor:
    """Random parameters (6,) inside the pose space."""
    return SPACE.random(1, torch.Generator().manual_seed(seed))[0]
