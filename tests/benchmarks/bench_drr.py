"""Speed of the X-ray renderer: 256³ voxels of 1 mm, 256² pixels of 1.06 mm, SDD 1020 mm, oblique views along each axis.

Sides are measured in turn, in one run, and the shortest time of each counts, because other work on the machine only
ever adds time. A "gradient step" is forward and backward for the pose.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffdrr.drr import DRR
from diffdrr.pose import RigidTransform
from nanodrr.data import Subject as NanodrrSubject
from nanodrr.drr import DRR as NanodrrDRR
from torch import Tensor
from torchio import ScalarImage, Subject

from shared.drr import Detector, euler_to_pose, render, to_diffdrr
from shared.drr.conventions import REORIENT
from shared.drr.geometry import ray_frame
from shared.drr.nanodrr_backend import intrinsics_to_nanodrr
from tests.benchmarks.measure import peer_python, row, run_script

NAMES = [
    "drr_grad/diffdrr_siddon",
    "drr_grad/diffdrr_trilinear",
    "drr_grad/nanodrr",
    "drr_forward/itk_rtk",
    "drr_cuda/nanodrr",
]
SIZE, DISTANCE, SAMPLES = 256, 850.0, 500
DETECTOR = Detector(256, 256, (1.06, 1.06), 1020.0)
# rays mainly along y, x and z; ZXY angles in degrees
VIEWS = [(20.0, 15.0, 25.0), (75.0, 10.0, 15.0), (10.0, 70.0, 10.0)]
RTK = "itk-rtk==2.7.0.post1"


def make_volume() -> tuple[Tensor, Tensor]:
    """Attenuation (X, Y, Z) of a noisy ellipsoid in air, and its affine."""
    axis = torch.linspace(-1, 1, SIZE)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    noise = torch.rand(SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    volume = torch.where(x**2 + y**2 / 0.7 + z**2 < 0.9, 0.018 + 0.004 * noise, 0.0)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = -(SIZE - 1) / 2
    return volume, affine


View = tuple[Tensor, Tensor]
Step = Callable[[View], None]


def views() -> list[View]:
    """Angles [rad] and translation [mm], (1, 3) each, of the measured views."""
    return [(torch.tensor([view]).deg2rad(), torch.tensor([[0.0, DISTANCE, 0.0]])) for view in VIEWS]


def gradient_step(image_of: Callable[[Tensor], Tensor], device: str = "cpu") -> Step:
    """Forward and backward for angles and translation of a view."""

    def step(view: View) -> None:
        angles, translation = (value.to(device).requires_grad_() for value in view)
        image_of(euler_to_pose(angles, translation)).square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def shortest(*sides: tuple[Step, int], rounds: int) -> list[float]:
    """Mean over the views of the shortest time [ms] of each (step, calls per round), the sides taking turns."""
    best = np.full((len(sides), len(VIEWS)), math.inf)
    for step, _ in sides:
        step(views()[0])  # compilation and caches
    for _ in range(rounds):
        for number, view in enumerate(views()):
            for side, (step, calls) in enumerate(sides):
                for _ in range(calls):
                    start = time.perf_counter()
                    step(view)
                    best[side, number] = min(best[side, number], (time.perf_counter() - start) * 1000)
    return best.mean(axis=1).tolist()


def diffdrr_step(volume: Tensor, affine: Tensor, renderer: str) -> Step:
    """Gradient step of DiffDRR."""
    image = ScalarImage(tensor=volume[None], affine=affine.numpy())
    reorient = torch.tensor(REORIENT["AP"], dtype=torch.float32)
    subject = Subject(volume=image, density=image, mask=None, orientation="AP", reorient=reorient, fiducials=None)
    size = dict(sdd=DETECTOR.sdd, height=DETECTOR.rows, delx=DETECTOR.pixel_mm[0])
    drr = DRR(subject, **size, renderer=renderer)
    options = {"n_points": SAMPLES} if renderer == "trilinear" else {}
    return gradient_step(lambda pose: drr(RigidTransform(to_diffdrr(pose, DETECTOR).pose), **options))


def nanodrr_step(volume: Tensor, affine: Tensor, device: str) -> Step:
    """Gradient step of nanodrr as its own documentation uses it."""
    image = ScalarImage(tensor=volume[None], affine=affine.numpy())
    subject = NanodrrSubject.from_images(image, convert_to_mu=False).to(device)
    sdd = torch.tensor([DETECTOR.sdd], device=device)
    drr = NanodrrDRR(intrinsics_to_nanodrr(DETECTOR).to(device, torch.float32), sdd, DETECTOR.rows, DETECTOR.columns)
    return gradient_step(lambda pose: drr(subject, pose, n_samples=SIZE), device)


def rtk_row(volume: Tensor, affine: Tensor, threads: int) -> dict[str, Any]:
    """Forward projection against RTK's Joseph filter."""
    python = peer_python("itk-rtk", [RTK, "numpy"])
    ours, theirs = [math.inf] * len(VIEWS), [math.inf] * len(VIEWS)
    with tempfile.TemporaryDirectory() as folder:
        volume_file = Path(folder, "volume.npy")
        np.save(volume_file, volume.numpy())
        for _ in range(3):
            for index, view in enumerate(views()):
                pose = euler_to_pose(*view).double()
                frame_file = Path(folder, "frame.npy")
                np.save(frame_file, ray_frame(pose, DETECTOR)[0].numpy())
                for _ in range(10):
                    start = time.perf_counter()
                    image = render(volume[None], pose, DETECTOR, affine)
                    ours[index] = min(ours[index], time.perf_counter() - start)
                script = Path(__file__).with_name("peers") / "rtk_projection.py"
                size = (DETECTOR.rows, DETECTOR.columns)
                done = run_script(python, script, volume_file, frame_file, *size, threads, 10, threads=threads)
                theirs[index] = min(theirs[index], done["seconds"])
                if abs(done["mean"] / image.mean().item() - 1) > 0.01:
                    raise RuntimeError(f"the projections differ: mean {done['mean']} and {image.mean().item()}")
    ours_ms, rtk_ms = (1000 * sum(seconds) / len(VIEWS) for seconds in (ours, theirs))
    return row("drr_forward/itk_rtk", ours_ms, rtk_ms, "ms", threads, lower_is_better=True)


def run() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    volume, affine = make_volume()

    ours = gradient_step(lambda pose: render(volume[None], pose, DETECTOR, affine))
    rows = []
    peers = {
        "drr_grad/diffdrr_siddon": (diffdrr_step(volume, affine, "siddon"), 2),
        "drr_grad/diffdrr_trilinear": (diffdrr_step(volume, affine, "trilinear"), 2),
        "drr_grad/nanodrr": (nanodrr_step(volume, affine, "cpu"), 3),
    }
    for name, (peer, rounds) in peers.items():
        ours_ms, peer_ms = shortest((ours, 10), (peer, 1), rounds=rounds)
        rows.append(row(name, ours_ms, peer_ms, "ms", threads, lower_is_better=True))
    rows.append(rtk_row(volume, affine, threads))
    if torch.cuda.is_available():
        on_gpu = volume.cuda()
        ours = gradient_step(lambda pose: render(on_gpu[None], pose, DETECTOR, affine), "cuda")
        ours_ms, peer_ms = shortest((ours, 10), (nanodrr_step(volume, affine, "cuda"), 10), rounds=5)
        rows.append(row("drr_cuda/nanodrr", ours_ms, peer_ms, "ms", threads, lower_is_better=True))
    return rows
