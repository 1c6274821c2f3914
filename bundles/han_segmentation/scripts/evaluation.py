"""Figures of every organ in every case against its contours, as tables and as a chart."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.data import MetaTensor

from .cases import find_han_cases
from .contours import HanCase, read_reference
from .data import check_reference, split_cases
from .laterality import side_warnings
from .metrics import mask_figures, slice_wise_dice
from .organs import OrganTable
from .shared.evaluation.reports import write_metrics
from .shared.geometry.frames import plain_tensor, voxel_sizes
from .shared.geometry.grids import volume_affine
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.itk_images import to_sitk
from .shared.pictures.files import save_picture
from .transforms import ORIGINAL

# performance bands: name, lowest Dice and colour
BANDS = (
    ("excellent", 0.95, "#1a7a3a"),
    ("very good", 0.9, "#57a845"),
    ("good", 0.8, "#a9c23f"),
    ("moderate", 0.6, "#e0a030"),
    ("challenging", 0.0, "#c8452f"),
)
REFERENCE = "reference"
FIGURES = ("dice", "dice_sd", "surface_dice", "hd95_mm", "missed", "volume_error_percent", "slice_wise")
COLUMNS = ("organ", "cases", *FIGURES)


def evaluation_cases(
    dataset_dir: str | os.PathLike,
    table: OrganTable,
    split: str,
    shares: Sequence[float],
    seed: int,
    modalities: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Cases with contours, the CT under "image", the files of the contours as JSON text under "reference".

    Args:
        dataset_dir: as for a training; or cases to be evaluated one and all.
        table: organs whose contours count.
        split: "train", "val" or "test" of a training; "all" for all cases.
        shares, seed: of the split, as the training has them.
        modalities: further ones that are looked for.

    Raises:
        CaseError: where there is none, or a case has no contours.
    """
    root = Path(dataset_dir)
    own = root / {"train": "train", "val": "validation", "test": "test"}.get(split, "")
    divided = split != "all" and (root / "train").is_dir() and (root / "validation").is_dir()
    cases = check_reference(find_han_cases(own if divided else root, table, modalities=modalities), root)
    if split != "all" and not divided:
        cases = split_cases(cases, split, shares, seed)
    if not cases:
        raise CaseError(root, f"has no case in the split {split}", "give more cases, or --split all")
    files = ("organs", "labels")
    return [
        {
            "image": case["ct"],
            **{key: value for key, value in case.items() if key not in ("ct", *files)},
            REFERENCE: json.dumps({key: case[key] for key in files if key in case}),
        }
        for case in cases
    ]


def reference_on_ct(item: Mapping[str, Any], table: OrganTable) -> tuple[np.ndarray, tuple[int, ...]]:
    """The contours of a case: labels (X, Y, Z) uint8 on the grid of its CT, numbers of the organs that are known.

    Args:
        item: "case", the CT (1, X, Y, Z) as it was read, and the files of the contours as JSON text.
        table: organs whose contours count.

    Raises:
        CaseError: for files that cannot be read or do not fit to the CT.
    """
    ct: MetaTensor = item[ORIGINAL]
    case = HanCase(str(item["case"]), to_sitk(ct.as_tensor()[0].cpu().numpy(), volume_affine(ct)))
    read_reference(json.loads(item[REFERENCE]), case, table)
    assert case.labels is not None
    return np.ascontiguousarray(sitk.GetArrayFromImage(case.labels).T), case.valid


def measure_case(item: Mapping[str, Any], table: OrganTable, organs: str) -> dict[str, Any]:
    """Row of one case.

    Args:
        item: as :func:`reference_on_ct` takes it, with "pred" (1, X, Y, Z) on the grid of the CT and "renamed_sides" of
            :class:`~.laterality.PutSidesRightd`.
        table: names of the organs.
        organs: "patients" where only what was learned from patients is measured, "all" for every organ.

    Returns:
        "case", "dice_mean" over the contoured organs, "sides_exchanged" (pairs of organs), "sides_renamed" (organs
        or pairs that the network drew on the wrong side), "organs": name to the figures of
        :class:`~.metrics.OrganFigures` and "slice_wise", which is no measure of quality.
    """
    truth, contoured = reference_on_ct(item, table)
    found = plain_tensor(item["pred"]).cpu().numpy()[0]
    affine = volume_affine(item[ORIGINAL])
    spacing = voxel_sizes(affine).tolist()
    through = int(np.abs(affine[2, :3] / spacing).argmax())
    figures = {}
    for number in sorted(set(contoured) & set(table.shown(organs))):
        name = table.names[number]
        a, b = found == number, truth == number
        along = [np.moveaxis(mask, through, -1) for mask in (a, b)]
        figures[name] = {**asdict(mask_figures(a, b, spacing)), "slice_wise": slice_wise_dice(*along)}
    return {
        "case": str(item["case"]),
        "dice_mean": mean([row["dice"] for row in figures.values()]),
        "sides_exchanged": sum("exchanged" in line for line in side_warnings(found, affine, table)),
        "sides_renamed": len(item.get("renamed_sides", [])),
        "organs": figures,
    }


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def organ_table(rows: Sequence[Mapping[str, Any]], table: OrganTable) -> list[dict[str, Any]]:
    """One row per organ that was contoured anywhere, see COLUMNS; HD95 over the cases where the organ was found."""
    lines = []
    for name in table.names.values():
        cases = [row["organs"][name] for row in rows if name in row["organs"]]
        dice = [case["dice"] for case in cases if np.isfinite(case["dice"])]
        if not dice:
            continue
        line = {"organ": name, "cases": len(dice), "dice": float(np.mean(dice)), "dice_sd": float(np.std(dice))}
        for key in ("surface_dice", "hd95_mm", "volume_error_percent", "slice_wise"):
            line[key] = mean([case[key] for case in cases])
        line["missed"] = sum(case["dice"] == 0 for case in cases)
        lines.append({key: line[key] for key in COLUMNS})
    return lines


def summarize(
    rows: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]], table: OrganTable
) -> dict[str, Any]:
    """Figures over all cases: means over the organs of ``organ_table``."""
    small = [table.names[number] for number in table.small]
    return {
        "cases": len(rows),
        "organs": len(lines),
        "dice_mean": mean([line["dice"] for line in lines]),
        "dice_mean_small_organs": mean([line["dice"] for line in lines if line["organ"] in small]),
        "surface_dice_mean": mean([line["surface_dice"] for line in lines]),
        "hd95_mm_mean": mean([line["hd95_mm"] for line in lines]),
        "missed": sum(line["missed"] for line in lines),
        "cases_with_exchanged_sides": sum(row["sides_exchanged"] > 0 for row in rows),
        "cases_with_renamed_sides": sum(row["sides_renamed"] > 0 for row in rows),
        "slice_wise_mean_not_a_measure_of_quality": mean([line["slice_wise"] for line in lines]),
    }


def band_of(dice: float) -> tuple[str, float, str]:
    """The performance band that a Dice lies in."""
    return next(band for band in BANDS if dice >= band[1])


def performance_bands(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each band: "band", "from" (its lowest Dice), "organs" (names, the best first), "range" (of their Dice)."""
    bands = []
    for name, least, _ in BANDS:
        inside = sorted((line for line in lines if band_of(line["dice"])[0] == name), key=lambda line: -line["dice"])
        dice = [line["dice"] for line in inside]
        organs = [line["organ"] for line in inside]
        bands.append({"band": name, "from": least, "organs": organs, "range": [min(dice), max(dice)] if dice else []})
    return bands


def organ_chart(lines: Sequence[Mapping[str, Any]]) -> Figure:
    """Bars of the volumetric Dice, coloured by performance band; the slice-wise figure as a hollow mark beside it."""
    figure = Figure(figsize=(8, 0.26 * len(lines) + 1.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(lines))
    colours = [band_of(line["dice"])[2] for line in lines]
    errors = [line["dice_sd"] for line in lines]
    axes.barh(places, [line["dice"] for line in lines], xerr=errors, color=colours, ecolor="#666666", capsize=2)
    slice_wise = [line["slice_wise"] for line in lines]
    (marks,) = axes.plot(
        slice_wise, places, "o", color="black", fillstyle="none", markersize=4, label="slice-wise, inflated"
    )
    axes.set_yticks(places, [f"{line['organ']} ({line['cases']})" for line in lines], fontsize=8)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="volumetric Dice, mean and standard deviation over cases")
    for _, least, _ in BANDS[:-1]:
        axes.axvline(least, color="grey", linewidth=0.6, linestyle=":")
    bands = [
        Patch(color=band_of(band["from"])[2], label=f"{band['band']}, from {band['from']:g}: {len(band['organs'])}")
        for band in performance_bands(lines)
    ]
    axes.legend(handles=[*bands, marks], loc="lower left", fontsize=8)
    return figure


def write_report(rows: Sequence[Mapping[str, Any]], output_dir: str, table: OrganTable) -> None:
    """Write metrics.json, metrics.csv (cases), organs.csv and organs.png of all measured cases."""
    if not rows:
        return
    lines = organ_table(rows, table)
    summary = summarize(rows, lines, table)
    bands = performance_bands(lines)
    ranking = [organ for band in bands for organ in band["organs"]]
    write_metrics(output_dir, rows, summary, organs=lines, bands=bands, ranking=ranking)
    with atomic_path(Path(output_dir) / "organs.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    save_picture(organ_chart(lines), Path(output_dir) / "organs.png")
    for line in lines:
        print(f"{line['organ']:18} {line['cases']:3} cases  Dice {line['dice']:.3f}  HD95 {line['hd95_mm']:.1f} mm")
    for band in bands:
        if band["organs"]:
            low, high = band["range"]
            print(f"{band['band']:12} {len(band['organs']):2} organs  Dice {low:.3f} to {high:.3f}")
    print(f"best {', '.join(ranking[:3])}; worst {', '.join(ranking[:-4:-1])}")
    print(f"mean Dice {summary['dice_mean']:.3f} over {len(lines)} organs, {summary['cases']} cases")
