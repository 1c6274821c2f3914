"""Figures of every organ in every case against its contours, as tables and as a chart."""

from __future__ import annotations

import csv
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from .dataset import check_reference, split_cases
from .han_cases import find_han_cases
from .han_reader import HanCase, read_reference, validity_mask
from .inference_input import ORIGINAL
from .laterality import side_warnings
from .metrics import mask_figures, slice_wise_dice
from .organs import NAMES, SMALL_ORGANS
from .shared.evaluation.reports import write_metrics
from .shared.geometry.grids import volume_affine
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.itk_images import to_sitk
from .shared.pictures.plots import save_figure

# performance bands: lowest Dice and colour
BANDS = ((0.95, "#1a7a3a"), (0.9, "#57a845"), (0.8, "#a9c23f"), (0.6, "#e0a030"), (-1.0, "#c8452f"))
FIGURES = ("dice", "dice_sd", "surface_dice", "hd95_mm", "missed", "volume_error_percent", "slice_wise")
COLUMNS = ("organ", "cases", *FIGURES)


def evaluation_cases(
    dataset_dir: str | os.PathLike, split: str, shares: Sequence[float], seed: int
) -> list[dict[str, Any]]:
    """Cases with contours, the CT under "image".

    Args:
        dataset_dir: as for a training; or cases to be evaluated one and all.
        split: "train", "val" or "test" of a training; "all" for all cases.
        shares, seed: of the split, as the training has them.

    Raises:
        CaseError: where there is none, or a case has no contours.
    """
    root = Path(dataset_dir)
    own = root / {"train": "train", "val": "validation", "test": "test"}.get(split, "")
    divided = split != "all" and (root / "train").is_dir() and (root / "validation").is_dir()
    cases = check_reference(find_han_cases(own if divided else root), root)
    if split != "all" and not divided:
        cases = split_cases(cases, split, shares, seed)
    if not cases:
        raise CaseError(root, f"has no case in the split {split}", "give more cases, or --split all")
    return [{"image": case["ct"], **{key: value for key, value in case.items() if key != "ct"}} for case in cases]


class ReferenceOnCt(Transform):
    """Add the contours of a case: "labels" (1, X, Y, Z) uint8 on the grid of the CT and "valid" (31,).

    Raises:
        CaseError: for files that cannot be read or do not fit to the CT.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        ct: MetaTensor = output[ORIGINAL]
        array = ct.as_tensor()[0].cpu().numpy()
        case = HanCase(str(output["case"]), to_sitk(array, volume_affine(ct)))
        read_reference({str(key): value for key, value in data.items()}, case)
        for key in ("organs", "openkbp"):
            output.pop(key, None)
        assert case.labels is not None
        labels = np.ascontiguousarray(sitk.GetArrayFromImage(case.labels).T)
        output["labels"] = MetaTensor(torch.from_numpy(labels)[None], meta=dict(ct.meta))
        output["valid"] = torch.from_numpy(validity_mask(case.valid))
        return output


def measure_case(item: Mapping[str, Any]) -> dict[str, Any]:
    """Row of one case.

    Args:
        item: "case", "pred" and "labels" (1, X, Y, Z) on the grid of the CT, "valid" (31,), "side_notes" of
            :class:`~.laterality.PutSidesRightd`.

    Returns:
        "case", "dice_mean" over the contoured organs, "sides_exchanged" (pairs of organs), "sides_renamed" (organs
        or pairs that the network drew on the wrong side), "organs": name to the figures of
        :class:`~.metrics.OrganFigures` and "slice_wise", which is no measure of quality.
    """
    found, truth = (torch.as_tensor(item[key]).as_subclass(Tensor).cpu().numpy()[0] for key in ("pred", "labels"))
    affine = volume_affine(item["labels"])
    spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    through = int(np.abs(affine[2, :3] / spacing).argmax())
    figures = {}
    for number, name in NAMES.items():
        if float(item["valid"][number]) < 0.5:
            continue
        a, b = found == number, truth == number
        along = [np.moveaxis(mask, through, -1) for mask in (a, b)]
        figures[name] = {**asdict(mask_figures(a, b, spacing)), "slice_wise": slice_wise_dice(*along)}
    return {
        "case": str(item["case"]),
        "dice_mean": mean([row["dice"] for row in figures.values()]),
        "sides_exchanged": sum("exchanged" in line for line in side_warnings(found, affine)),
        "sides_renamed": len(item.get("side_notes", [])),
        "organs": figures,
    }


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def organ_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per organ that was contoured anywhere, see COLUMNS; HD95 over the cases where the organ was found."""
    table = []
    for name in NAMES.values():
        cases = [row["organs"][name] for row in rows if name in row["organs"]]
        dice = [case["dice"] for case in cases if np.isfinite(case["dice"])]
        if not dice:
            continue
        line = {"organ": name, "cases": len(dice), "dice": float(np.mean(dice)), "dice_sd": float(np.std(dice))}
        for key in ("surface_dice", "hd95_mm", "volume_error_percent", "slice_wise"):
            line[key] = mean([case[key] for case in cases])
        line["missed"] = sum(case["dice"] == 0 for case in cases)
        table.append({key: line[key] for key in COLUMNS})
    return table


def summarize(rows: Sequence[Mapping[str, Any]], table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures over all cases: means over the organs of ``organ_table``."""
    small = [NAMES[number] for number in SMALL_ORGANS]
    return {
        "cases": len(rows),
        "organs": len(table),
        "dice_mean": mean([line["dice"] for line in table]),
        "dice_mean_small_organs": mean([line["dice"] for line in table if line["organ"] in small]),
        "surface_dice_mean": mean([line["surface_dice"] for line in table]),
        "hd95_mm_mean": mean([line["hd95_mm"] for line in table]),
        "missed": sum(line["missed"] for line in table),
        "cases_with_exchanged_sides": sum(row["sides_exchanged"] > 0 for row in rows),
        "cases_with_renamed_sides": sum(row["sides_renamed"] > 0 for row in rows),
        "slice_wise_mean_not_a_measure_of_quality": mean([line["slice_wise"] for line in table]),
    }


def organ_chart(table: Sequence[Mapping[str, Any]]) -> Figure:
    """Bars of the volumetric Dice, coloured by performance band; the slice-wise figure as a hollow mark beside it."""
    figure = Figure(figsize=(8, 0.26 * len(table) + 1.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(table))
    colours = [next(colour for least, colour in BANDS if line["dice"] > least) for line in table]
    errors = [line["dice_sd"] for line in table]
    axes.barh(places, [line["dice"] for line in table], xerr=errors, color=colours, ecolor="#666666", capsize=2)
    slice_wise = [line["slice_wise"] for line in table]
    axes.plot(slice_wise, places, "o", color="black", fillstyle="none", markersize=4, label="slice-wise, inflated")
    axes.set_yticks(places, [f"{line['organ']} ({line['cases']})" for line in table], fontsize=8)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="volumetric Dice, mean and standard deviation over cases")
    for least, _ in BANDS[:-1]:
        axes.axvline(least, color="grey", linewidth=0.6, linestyle=":")
    axes.legend(loc="lower left", fontsize=8)
    return figure


def write_report(rows: Sequence[Mapping[str, Any]], output_dir: str) -> None:
    """Write metrics.json, metrics.csv (cases), organs.csv and organs.png of all measured cases."""
    if not rows:
        return
    table = organ_table(rows)
    summary = summarize(rows, table)
    write_metrics(output_dir, rows, summary, organs=table)
    with atomic_path(Path(output_dir) / "organs.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table)
    save_figure(organ_chart(table), Path(output_dir) / "organs.png")
    for line in table:
        print(f"{line['organ']:18} {line['cases']:3} cases  Dice {line['dice']:.3f}  HD95 {line['hd95_mm']:.1f} mm")
    print(f"mean Dice {summary['dice_mean']:.3f} over {len(table)} organs, {summary['cases']} cases")
