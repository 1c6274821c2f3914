"""Registrations in figures and numbers: renderings against X-rays, and poses against the truth."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .metrics import pose_errors, summarize
from .patient import PatientModel
from .pose_file import read_pose
from .radiographs import registration_cases
from .shared.drr.similarity import mean_squared_error, mutual_information, ncc, structural_similarity
from .shared.engines.case_evaluator import CaseEvaluator, CaseFailure, shard_cases
from .shared.engines.parallel import gather, rank, wait_for_all
from .shared.evaluation.reports import write_metrics
from .shared.io.errors import CaseError
from .shared.io.weights import read_tensors
from .shared.pictures.files import save_picture
from .views import exposed

IMAGES = {"initial": "init_image.png", "final": "final_img.png"}


def read_gray(path: Path) -> Tensor:
    """A picture (1, 1, rows, columns) float32 in [0, 1].

    Raises:
        CaseError: where it is missing or no picture.
    """
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("I") if picture.mode.startswith("I") else picture.convert("L"))
    except OSError as error:
        raise CaseError(
            path, "no such picture, or damaged", "give the folder that inference.json has written"
        ) from error
    scale = 65535.0 if values.max() > 255 else 255.0
    return torch.from_numpy(values.astype(np.float32) / scale)[None, None]


def image_figures(measured: Tensor, rendered: Tensor) -> dict[str, float]:
    """MSE, SSIM (both with the fixed range 0 to 1), NMI and NCC of pictures (1, 1, rows, columns) in [0, 1]."""
    return {
        "mse": float(mean_squared_error(measured, rendered)[0]),
        "ssim": float(structural_similarity(measured, rendered, data_range=1.0)[0]),
        "nmi": float(mutual_information(measured, rendered)[0]),
        "ncc": float(ncc(measured, rendered)[0]),
    }


def inside(image: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around what is exposed in (1, 1, rows, columns)."""
    mask = exposed(image[0, 0]).numpy()
    spans = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in range(2)]
    return slice(int(spans[0][0]), int(spans[0][-1]) + 1), slice(int(spans[1][0]), int(spans[1][-1]) + 1)


def comparison(
    images: Mapping[str, Tensor], figures: Mapping[str, Mapping[str, float]], title: str, box: tuple[slice, slice]
) -> Figure:
    """X-ray and renderings side by side, below the renderings their absolute difference from the X-ray.

    Args:
        images: "X-ray" first, (rows, columns) in [0, 1] each.
        figures: of each rendering, written beside its difference.
        title: of the whole.
        box: rows and columns that are exposed; differences are shown there alone, over the X-ray's outline.
    """
    figure = Figure(figsize=(4.2 * len(images), 8.6), layout="constrained")
    grid = figure.subplots(2, len(images), squeeze=False)
    measured = next(iter(images.values()))
    for column, (name, image) in enumerate(images.items()):
        top, bottom = grid[0, column], grid[1, column]
        top.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        top.set_title(name, fontsize=11)
        for axes in (top, bottom):
            axes.set(xticks=[], yticks=[])
        bottom.set_frame_on(bool(column))
        if column:
            difference = np.full(measured.shape, np.nan)
            difference[box] = (image - measured).abs().numpy()[box]
            bottom.set_facecolor("0.85")
            shown = bottom.imshow(difference, cmap="inferno", vmin=0, vmax=0.5)
            values = figures[name]
            bottom.set_title(
                f"|difference|: MSE {values['mse']:.4f} ↓  SSIM {values['ssim']:.3f} ↑\n"
                f"NMI {values['nmi']:.3f} ↑  NCC {values['ncc']:.3f} ↑",
                fontsize=9,
            )
            figure.colorbar(shown, ax=bottom, shrink=0.7)
    figure.suptitle(title, fontsize=11)
    return figure


def result_folders(results_dir: str | os.PathLike) -> dict[str, Path]:
    """Folder of each case that `inference.json` has written into a folder; empty where there is none."""
    return {path.parent.name: path.parent for path in sorted(Path(results_dir).glob("*/parameters.pt"))}


def radiographs_to_register(dataset_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """Cases of radiographs; none for a folder of results, which are evaluated as they are.

    Raises:
        CaseError: where there is neither.
    """
    return [] if result_folders(dataset_dir) else registration_cases(dataset_dir)


def true_pose(truth_dir: Path, case: str) -> Tensor | None:
    """True camera pose (4, 4) of a case or of the first of its views; None where no file has it."""
    names = (f"{case}_pose.json", f"{case}_view0_pose.json")
    path = next((truth_dir / name for name in names if (truth_dir / name).is_file()), None)
    return None if path is None else read_pose(path)[0]


class MeasureResult:
    """Measures and draws the result of one case.

    Args:
        output_dir: gets ``<case>_comparison.png``.
        patient: its skeleton gives the errors in mm.
        truth_dir: folder of ``<case>_pose.json`` with the true poses.
        title_suffix: added to the titles.
        gt_name: name of the X-ray in the folder of a case.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        patient: PatientModel,
        truth_dir: str | os.PathLike | None = None,
        title_suffix: str = "",
        gt_name: str = "gt.png",
    ) -> None:
        if truth_dir is not None and not Path(truth_dir).is_dir():
            raise CaseError(truth_dir, "no such folder", "give --truth_dir the folder of the true <case>_pose.json")
        self.output, self.patient = Path(output_dir), patient
        self.title_suffix, self.gt_name = title_suffix, gt_name
        self.truth = None if truth_dir is None else Path(truth_dir)

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Row of the case: image figures before and after, and errors of the pose where the truth is known.

        Args:
            folder: of the case; its ``<case>_pose.json`` lies beside it.

        Raises:
            CaseError: where a file of the case is missing or damaged.
        """
        case = folder.name
        measured = read_gray(folder / self.gt_name)
        images, row = {"X-ray": measured[0, 0]}, dict[str, Any](case=case)
        paths = {name: folder / file for name, file in IMAGES.items()}
        if (folder / "drr.png").is_file():
            paths["high quality"] = folder / "drr.png"
        box, figures = inside(measured), {}
        for name, path in paths.items():
            rendered = read_gray(path)
            if rendered.shape != measured.shape:
                rendered = torch.nn.functional.interpolate(
                    rendered, size=measured.shape[-2:], mode="bilinear", antialias=True, align_corners=False
                )
            figures[name] = image_figures(measured[(..., *box)], rendered[(..., *box)])
            images[name] = rendered[0, 0]
            row |= {f"{name.replace(' ', '_')}_{key}": value for key, value in figures[name].items()}
        found, detector, content = read_pose(folder.parent / f"{case}_pose.json")
        row["accepted"] = bool(content.get("confidence", {}).get("accepted", False))
        row["start"] = str(content.get("start", ""))
        row["seconds"] = float(read_tensors(folder / "parameters.pt").get("seconds", torch.tensor(torch.nan)))
        title = f"{case} {self.title_suffix}".strip()
        true = None if self.truth is None else true_pose(self.truth, case)
        if true is not None:
            row |= pose_errors(self.patient, found, true, detector)
            title += f": mTRE {row['mtre_mm']:.2f} mm, {'accepted' if row['accepted'] else 'rejected'}"
        save_picture(comparison(images, figures, title, box), self.output / f"{case}_comparison.png")
        return row


class ResultReport:
    """Handler of the inference that measures its results once all of them are written, those of earlier runs included.

    Args:
        dataset_dir: the radiographs, whose results lie in ``output_dir``; or a folder of results.
        output_dir: of the inference.
        measure: figures of the folder of a case.
        report: called once, by the first process, with the figures of all cases.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike,
        output_dir: str | os.PathLike,
        measure: Callable[[Path], Mapping[str, Any]],
        report: Callable[[list[Mapping[str, Any]]], None],
    ) -> None:
        self.dataset_dir, self.output_dir, self.measure, self.report = dataset_dir, output_dir, measure, report

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self.complete)

    def complete(self, engine: CaseEvaluator) -> None:
        wait_for_all()  # what is there may have been written by another process
        folders, failed = result_folders(self.dataset_dir), {one.case for one in gather(engine.failures)}
        if not folders:
            names = {case["case"] for case in registration_cases(self.dataset_dir)} - failed
            folders = {name: path for name, path in result_folders(self.output_dir).items() if name in names}
        rows = []
        for case in shard_cases([{"case": name, "folder": path} for name, path in folders.items()]):
            try:
                rows.append(self.measure(case["folder"]))
            except CaseError as error:
                engine.fail(CaseFailure.of(case["case"], str(case["folder"]), error))
        rows = gather(rows)
        if rank() == 0:
            self.report(sorted(rows, key=lambda row: str(row["case"])))


def write_report(rows: Sequence[Mapping[str, Any]], output_dir: str | os.PathLike) -> None:
    """Write ``metrics.json`` and ``metrics.csv`` of all cases, and print the main figures."""
    summary = summarize(rows)
    if rows:
        summary["accepted"] = float(np.mean([row["accepted"] for row in rows]))
    known = [row for row in rows if "mtre_mm" in row]
    if known:
        summary["accepted_over_10mm"] = sum(row["accepted"] and row["mtre_mm"] > 10 for row in known)
        print(
            f"{len(known)} cases: median mTRE {summary['mtre_mm_median']:.3f} mm, "
            f"{summary['success_2mm']:.0%} within 2 mm, {summary['accepted']:.0%} accepted, "
            f"{summary['accepted_over_10mm']} accepted over 10 mm"
        )
    write_metrics(output_dir, rows, summary)
