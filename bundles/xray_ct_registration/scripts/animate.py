"""GIF of a registration: how the rendering moves onto the X-ray."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .evaluation import read_gray
from .patient import PatientModel, render_patient
from .render import case_of, read_result, result_paths
from .results import unit_range
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.weights import read_tensors
from .views import exposed

HOLD = 12  # frames that the last pose stays


def chosen_frames(poses: Tensor, similarity: Tensor, frames: int) -> list[int]:
    """Indices of at most ``frames`` steps at which the similarity had its best value so far, denser where it moves.

    Args:
        poses: (T, 4, 4).
        similarity: (T,).
        frames: how many.
    """
    if len(poses) <= frames:
        return list(range(len(poses)))
    way = torch.cat([torch.zeros(1).double(), (poses[1:, :3] - poses[:-1, :3]).flatten(1).norm(dim=1).cumsum(0)])
    time = torch.linspace(0, 1, len(poses)).double()
    progress = 0.5 * time + 0.5 * way / way[-1].clamp(min=1e-9)
    return sorted(
        {int(torch.searchsorted(progress, t).clamp(max=len(poses) - 1)) for t in torch.linspace(0, 1, frames)}
    )


def frame(measured: Tensor, rendered: Tensor, mask: Tensor, text: str, side: int) -> Image.Image:
    """X-ray, rendering and overlay (X-ray red, rendering cyan, where the mask is set) beside each other.

    Args:
        measured: (rows, columns) in [0, 1].
        rendered: the same.
        mask: (rows, columns) bool, what is exposed.
        text: in the corner.
        side: pixels of each of the three pictures.
    """
    colour = torch.stack([measured, rendered, rendered], dim=-1)
    colour[~mask] = 0.85
    row = torch.cat([measured[..., None].expand(-1, -1, 3), rendered[..., None].expand(-1, -1, 3), colour], dim=1)
    picture = Image.fromarray((row.numpy() * 255).astype(np.uint8))
    height = round(side * measured.shape[0] / measured.shape[1])
    picture = picture.resize((3 * side, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(draw.textbbox((6, 4), text), fill=(0, 0, 0))
    draw.text((6, 4), text, fill=(255, 255, 255))
    return picture


def animate_results(
    patient: PatientModel,
    dataset_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    frames: int = 50,
    fps: float = 12.0,
    side: int = 256,
    backend: str | None = None,
) -> list[Path]:
    """Write ``registration.gif`` of each result into the folder of its case.

    Args:
        patient: the CT.
        dataset_dir: ``parameters.pt`` or a folder of results.
        output_dir: a folder per case is made in it.
        frames: at most.
        fps: frames per second.
        side: pixels of each of the three pictures.
        backend: of the renderer.

    Raises:
        CaseError: where a result has no trajectory or no X-ray.
    """
    written = []
    for path in result_paths(dataset_dir):
        content = read_tensors(path) if path.suffix == ".pt" else {}
        if "trajectory_poses" not in content:
            raise CaseError(path, "holds no trajectory", "give the parameters.pt of a registration")
        _, detector = read_result(path)
        small = detector.resized(round(side * detector.rows / detector.columns), side)
        measured = torch.nn.functional.interpolate(
            read_gray(path.parent / "gt.png"), (small.rows, small.columns), mode="bilinear", antialias=True
        )[0, 0]
        poses, values = content["trajectory_poses"], content["trajectory_similarity"]
        mask = exposed(measured)
        coarse = patient.coarser(0.7 * small.pixel_mm[0])
        pictures = []
        for index in chosen_frames(poses, values, frames):
            drr = unit_range(render_patient(coarse, poses[index], small, backend)[0, 0])
            factor = float(content["trajectory_factor"][index])
            text = f"step {index + 1} of {len(poses)}, resolution 1/{factor:g}, similarity {float(values[index]):.3f}"
            pictures.append(frame(measured.clamp(0, 1), drr, mask, text, side))
        target = Path(output_dir) / case_of(path) / "registration.gif"
        times = [round(1000 / fps)] * len(pictures)
        times[-1] *= HOLD
        with atomic_path(target) as temporary:
            pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)
        written.append(target)
    return written
