"""How far from the truth a registration may begin: success against the initial offset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from .confidence import AcceptanceLimits
from .metrics import mtre
from .patient import PatientModel
from .pose_file import read_pose
from .pose_space import PoseSpace
from .radiographs import LoadViews
from .register import Schedule, refine_starts, working_views
from .shared.evaluation.reports import write_metrics
from .shared.io.errors import CaseError
from .shared.pictures.files import save_picture

SUCCESS_MM = 2.0


def offset_start(
    patient: PatientModel, space: PoseSpace, true: Tensor, offset_mm: float, generator: torch.Generator
) -> Tensor:
    """Parameters (6,) of a pose whose mTRE from ``true`` (4, 4) is ``offset_mm``, in a random direction.

    Angles and shifts take part alike: 1 degree counts as 3 mm, and the depth is free to err three times as much.
    """
    parameters = space.to_parameters(true[None], patient.isocenter)[0]
    unit = torch.tensor([torch.pi / 180] * 3 + [3.0, 9.0, 3.0], dtype=torch.float64)
    direction = torch.randn(6, generator=generator, dtype=torch.float64) * unit

    def distance(scale: float) -> float:
        return mtre(patient, space.to_pose((parameters + scale * direction)[None], patient.isocenter)[0], true)

    low, high = 0.0, 1.0
    while distance(high) < offset_mm and high < 64:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(middle) < offset_mm else (low, middle)
    return parameters + low * direction


def plot(rows: Sequence[dict[str, Any]], offsets_mm: Sequence[float]) -> Figure:
    """Share of successes over the initial mTRE, and final over initial mTRE of each trial."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [np.mean([row["success"] for row in rows if row["offset_mm"] == offset]) * 100 for offset in offsets_mm]
    left.plot(offsets_mm, rates, "o-")
    left.set(xlabel="initial mTRE in mm", ylabel=f"final mTRE within {SUCCESS_MM:g} mm, in %", ylim=(-3, 103))
    for success, colour in ((True, "tab:green"), (False, "tab:red")):
        some = [row for row in rows if row["success"] == success]
        right.plot([r["initial_mtre_mm"] for r in some], [r["mtre_mm"] for r in some], ".", color=colour)
    right.axhline(SUCCESS_MM, color="grey", linewidth=0.8, linestyle=":")
    right.set(xlabel="initial mTRE in mm", ylabel="final mTRE in mm", yscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def capture_range(
    patient: PatientModel,
    space: PoseSpace,
    cases: Sequence[dict[str, Any]],
    load: LoadViews,
    truth_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    schedule: Schedule,
    offsets_mm: Sequence[float] = (5, 10, 20, 40, 60, 80),
    trials: int = 5,
    seed: int = 0,
    backend: str | None = None,
) -> list[dict[str, Any]]:
    """Refine from random offsets of the true pose; writes ``capture_range.png``, ``metrics.json`` and ``metrics.csv``.

    Args:
        patient: the CT.
        space: meaning of the parameters.
        cases: X-rays, as `registration_cases` gives them.
        load: reads them.
        truth_dir: folder of ``<case>_pose.json``.
        output_dir: where to.
        schedule: of the refinement, which begins at a single start.
        offsets_mm: initial mTRE.
        trials: per X-ray and offset.
        seed: of the directions.
        backend: of the renderer.

    Raises:
        CaseError: where no true pose is known.
    """
    rows: list[dict[str, Any]] = []
    generator = torch.Generator().manual_seed(seed)
    known = [case for case in cases if (Path(truth_dir) / f"{case['case']}_pose.json").is_file()]
    if not known:
        raise CaseError(truth_dir, "holds no true pose of any X-ray", "give --truth_dir a folder of <case>_pose.json")
    with tqdm(total=len(known) * len(offsets_mm) * trials, desc="capture range", unit="trial") as bar:
        for case in known:
            views = working_views(load(case)["image"].meta["views"], schedule.pixel_mm)
            true = read_pose(Path(truth_dir) / f"{case['case']}_pose.json")[0]
            for offset in offsets_mm:
                for trial in range(trials):
                    start = offset_start(patient, space, true, float(offset), generator)
                    found = refine_starts(
                        start[None], "given", space, patient, views, schedule, AcceptanceLimits(), backend
                    )
                    error = mtre(patient, found.camera_to_world, true)
                    rows.append(
                        {
                            "case": f"{case['case']}_{offset:g}mm_{trial}",
                            "offset_mm": offset,
                            "initial_mtre_mm": mtre(patient, found.initial_camera_to_world, true),
                            "mtre_mm": error,
                            "success": error <= SUCCESS_MM,
                            "accepted": found.confidence.accepted,
                        }
                    )
                    bar.update()
    summary = {
        f"success_from_{offset:g}mm": float(np.mean([row["success"] for row in rows if row["offset_mm"] == offset]))
        for offset in offsets_mm
    }
    write_metrics(output_dir, rows, summary, success_mm=SUCCESS_MM)
    save_picture(plot(rows, offsets_mm), Path(output_dir) / "capture_range.png")
    return rows
