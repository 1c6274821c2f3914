"""Measuring results of the vertebra pipeline against label maps and body centres.

A vertebra that an end of the scan cuts is neither demanded nor counted as invented: whether half of it should have been
found is a matter of taste. Everything else is the VerSe metrics, official and strict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from ..evaluation.reports import CaseReport, write_metrics
from ..geometry.grids import volume_affine
from .body import body_centres
from .centroids import read_centroids
from .crops import sample_grid
from .dataset import load_volume, spine_datalist
from .documents import RAS_LPS, points_of
from .field import FieldOfView
from .labels import SPINE_LABELS, VERTEBRA_LABELS, craniocaudal_order
from .metrics import FIGURES, MODES, VerSeMetrics, finite_mean, localization_metrics, summarize_localization
from .sequence import CUT_MM

Kind = Literal["spine", "vertebrae", "segmentation"]
VERTEBRAE = frozenset(VERTEBRA_LABELS.values())
NEAR_MM = 20.0  # from a cut vertebra: what bears its label here is not counted
BOX_MARGIN_MM = 10.0  # by which a body centre may lie outside of the box of the spine


def evaluation_cases(
    table: str, split: str = "val", fold: int = 0, num_folds: int = 5, seed: int = 0
) -> list[dict[str, str]]:
    """Cases of a table as ``find_cases`` gives them, with the paths of their truth (empty where there is none).

    Args:
        table: CSV of the cases.
        split: "train", "val" (of the fold) or "all".
        fold, num_folds, seed: as in training.

    Raises:
        CaseError: as :func:`~shared.spine.dataset.spine_datalist`.
    """
    return [
        {
            "image": str(item["files"].image),
            "case": item["case"],
            "mask": str(item["files"].mask or ""),
            "centroids": str(item["files"].centroids or ""),
        }
        for item in spine_datalist(table, split, fold, num_folds, seed)
    ]


@dataclass(frozen=True)
class Truth:
    """What is known about a case.

    Attributes:
        centres: label to body centre (3,) RAS mm, of vertebrae that the scan shows whole along its axis.
        cut: those of cut ones.
        labels: (1, X, Y, Z) label map, or None.
    """

    centres: dict[int, np.ndarray]
    cut: dict[int, np.ndarray]
    labels: MetaTensor | None


def read_truth(case: Mapping[str, str], volume: MetaTensor) -> Truth:
    """The truth of a case.

    Args:
        case: with "mask" and "centroids" as :func:`evaluation_cases` gives them.
        volume: (1, X, Y, Z) the CT, or any image on its grid.

    Raises:
        CaseError: for files that cannot be read.
    """
    view = FieldOfView(volume_affine(volume), volume.shape[1:])
    labels, reaching = None, set()
    if case["mask"]:
        labels = load_volume(Path(case["mask"]), allow_constant=True)
        array = labels.as_tensor()[0].numpy().astype(np.int16)
        axis = FieldOfView(volume_affine(labels), array.shape).axial
        for label, box in enumerate(ndimage.find_objects(array), start=1):
            if box is not None and (box[axis].start == 0 or box[axis].stop == array.shape[axis]):
                reaching.add(label)
    if case["centroids"]:
        found = read_centroids(case["centroids"], volume)
    else:
        assert labels is not None  # the table demands one of both
        found = body_centres(labels.as_tensor()[0].numpy().astype(np.int16), volume_affine(labels))
    centres = {label: point for label, point in found.items() if label in VERTEBRAE and view.sees(point)}
    cut = {
        label
        for label, point in centres.items()
        if label in reaching or (labels is None and float(view.end_depth_mm(point)) < CUT_MM)
    }
    return Truth(
        {label: point for label, point in centres.items() if label not in cut},
        {label: centres[label] for label in cut},
        labels,
    )


def counted(found: Mapping[int, np.ndarray], truth: Truth) -> dict[int, np.ndarray]:
    """Found vertebrae without those that lie where the truth has the same one, cut."""
    return {
        label: point
        for label, point in found.items()
        if label in VERTEBRAE and not (label in truth.cut and float(np.linalg.norm(point - truth.cut[label])) < NEAR_MM)
    }


def label_figures(result: Mapping[str, Any], truth: Truth) -> dict[str, Any]:
    """Figures of the labelled body centres of a result document, for both modes."""
    found = counted(points_of(result), truth)
    modes = {mode: localization_metrics(found, truth.centres, mode) for mode in MODES}
    strict = modes["strict"]
    return {
        **{name: value for name, value in modes["official"].items() if not name.startswith("hits")},
        "strict_id_rate_20mm": strict["id_rate_20mm"],
        "level_uncertain": bool(result.get("level_uncertain", not found)),
        "margin": result.get("margin"),
        "warnings": list(result.get("warnings", [])),
        "localization": modes,
    }


def mask_figures(pred: MetaTensor | None, truth: Truth) -> dict[str, Any]:
    """Figures of a label map (1, X, Y, Z) for both modes; None stands for an empty one."""
    assert truth.labels is not None
    gt = truth.labels.as_tensor()[0].numpy().astype(np.uint8)
    affine = volume_affine(truth.labels)
    if pred is None:
        array = np.zeros_like(gt)
    elif tuple(pred.shape[1:]) == gt.shape and np.allclose(volume_affine(pred), affine, atol=1e-3):
        array = torch.as_tensor(pred.as_tensor())[0].cpu().numpy().astype(np.uint8)
    else:
        array = sample_grid(pred, affine, gt.shape, 0, labels=True)[0].cpu().numpy().astype(np.uint8)
    labels = craniocaudal_order(VERTEBRAE - truth.cut.keys())
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    results = {mode: VerSeMetrics(tuple(spacing), mode, labels) for mode in MODES}
    rows = results["official"].evaluate_case(array, gt)["per_vertebra"]
    official = results["official"].aggregate(rows.values())
    strict = results["strict"].aggregate(rows.values())
    return {
        **{f"{name}_mean": official[f"{name}_mean"] for name in FIGURES},
        "strict_dice_mean": strict["dice_mean"],
        "per_vertebra": rows,
    }


def region_figures(result: Mapping[str, Any] | None, truth: Truth) -> dict[str, Any]:
    """Figures of the region of the spine: body centres in its box, distance of its centroid from their mean.

    Across the body the centroid has to be right for the crop of the next stage; along it, it depends on how much of the
    sacrum and of cut vertebrae is seen.
    """
    everything = np.array(list((truth.centres | truth.cut).values())).reshape(-1, 3)
    if result is None or not len(everything):
        return {"centroid_error_mm": float("nan"), "centroid_error_across_mm": float("nan"), "inside_box": 0.0}
    centroid = np.array([result["centroid"][axis] for axis in "xyz"]) * RAS_LPS
    ends = np.array([[result["box"][end][axis] for axis in "xyz"] for end in ("low", "high")]) * RAS_LPS
    low, high = ends.min(axis=0) - BOX_MARGIN_MM, ends.max(axis=0) + BOX_MARGIN_MM
    inside = ((everything >= low) & (everything <= high)).all(axis=1)
    offset = centroid - everything.mean(axis=0)
    return {
        "centroid_error_mm": float(np.linalg.norm(offset)),
        "centroid_error_across_mm": float(np.linalg.norm(offset[:2])),
        "inside_box": float(inside.mean()),
    }


def figures_of(
    kind: Kind, case: Mapping[str, str], volume: MetaTensor, result: Mapping[str, Any] | None, pred: MetaTensor | None
) -> dict[str, Any]:
    """Row of one case.

    Args:
        kind: of the results.
        case: of :func:`evaluation_cases`.
        volume: its CT.
        result: document of the case; None where it was refused.
        pred: its label map, of a segmentation; None where there is none.
    """
    truth = read_truth(case, volume)
    row: dict[str, Any] = {"case": case["case"], "failed": result is None}
    if kind == "spine":
        return row | region_figures(result, truth)
    row |= label_figures(result or {"landmarks": []}, truth)
    if kind == "segmentation" and truth.labels is not None:
        row |= mask_figures(pred, truth)
    return row


def measure_case(item: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Row of one case of an evaluator, input and output in one: what inference makes of it against its truth."""
    case = {name: str(item[name]) for name in ("case", "image", "mask", "centroids")}
    return figures_of(kind, case, item["original"], item["result"], item["pred"] if kind == "segmentation" else None)


def summarize(rows: Sequence[Mapping[str, Any]], kind: Kind) -> dict[str, Any]:
    """Figures over all cases, those of both modes under their names."""
    summary: dict[str, Any] = {"cases": len(rows), "failed": sum(bool(row["failed"]) for row in rows)}
    if kind == "spine":
        errors = [row["centroid_error_mm"] for row in rows]
        finite = [error for error in errors if np.isfinite(error)]
        return summary | {
            "centroid_error_mean_mm": finite_mean(errors),
            "centroid_error_max_mm": max(finite, default=float("nan")),
            "centroid_error_across_mean_mm": finite_mean([row["centroid_error_across_mm"] for row in rows]),
            "inside_box": finite_mean([row["inside_box"] for row in rows]),
        }
    for mode in MODES:
        summary[mode] = summarize_localization([row["localization"][mode] for row in rows], mode)
        measured = [figures for row in rows for figures in row.get("per_vertebra", {}).values()]
        if kind == "segmentation" and measured:
            overlap = VerSeMetrics(mode=mode).aggregate(measured)
            summary[mode] |= {name: value for name, value in overlap.items() if name.endswith(("_mean", "_sd"))}
    wrong = [not row["localization"]["strict"]["all_identified"] for row in rows]
    doubted = [bool(row["level_uncertain"]) for row in rows]
    return summary | {
        "level_uncertain_rate": finite_mean([float(value) for value in doubted]),
        "uncertain_where_wrong": finite_mean([float(d) for d, w in zip(doubted, wrong, strict=True) if w]),
        "right_where_certain": finite_mean([float(not w) for d, w in zip(doubted, wrong, strict=True) if not d]),
    }


def per_label(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each vertebra over all cases, from head to foot."""
    table = []
    for label in craniocaudal_order(VERTEBRAE):
        name = next(name for name, number in SPINE_LABELS.items() if number == label)
        distances = [row["distances_mm"][name] for row in rows if name in row["distances_mm"]]
        own = [row["per_vertebra"][name] for row in rows if name in row.get("per_vertebra", {})]
        if distances or own:
            entry: dict[str, Any] = {"name": name, "found": len(distances), "mld_mm": finite_mean(distances)}
            if own:
                entry |= {f"{figure}_mean": finite_mean([one[figure] for one in own]) for figure in FIGURES}
            table.append(entry)
    return table


def write_report(
    rows: Sequence[Mapping[str, Any]], output_dir: str, cases: Sequence[Mapping[str, str]], kind: Kind
) -> None:
    """Write metrics.json and metrics.csv of all cases; those that were refused count as missed altogether.

    Args:
        rows: of :func:`measure_case`.
        output_dir: folder.
        cases: all that were to be measured.
        kind: of the results.
    """
    done = {row["case"] for row in rows}
    failed = [
        figures_of(kind, case, load_volume(Path(case["image"])), None, None)
        for case in cases
        if case["case"] not in done
    ]
    everything = sorted([*rows, *failed], key=lambda row: str(row["case"]))
    summary = summarize(everything, kind)
    more = {} if kind == "spine" else {"vertebrae": per_label(everything)}
    write_metrics(output_dir, everything, summary, **more)
    print(headline(summary, kind))


def spine_report(output_dir: str, cases: Sequence[Mapping[str, str]], kind: Kind) -> CaseReport:
    """The handler that compares what inference finds with the truth, and writes metrics.json and metrics.csv.

    Args:
        output_dir, cases, kind: as :func:`write_report` takes them.
    """
    return CaseReport(
        partial(measure_case, kind=kind), partial(write_report, output_dir=output_dir, cases=cases, kind=kind)
    )


def headline(summary: Mapping[str, Any], kind: Kind) -> str:
    """The main figures in one line."""
    start = f"{summary['cases']} cases ({summary['failed']} refused): "
    if kind == "spine":
        return (
            start + f"centroid {summary['centroid_error_mean_mm']:.1f} mm off, "
            f"{summary['centroid_error_across_mean_mm']:.1f} mm of it across the body, "
            f"{summary['inside_box']:.1%} of the vertebrae in the box"
        )
    official, strict = summary["official"], summary["strict"]
    line = (
        f"id-rate {official['id_rate_20mm']:.1%} official, {strict['id_rate_20mm']:.1%} strict, "
        f"{official['id_rate_4mm']:.1%} within 4 mm, MLD {official['mld_mm']:.2f} mm"
    )
    if "dice_mean" in official:
        line += (
            f"; Dice {official['dice_mean']:.3f} official, {strict['dice_mean']:.3f} strict, "
            f"HD95 {official['hd95_mean']:.1f} mm, ASSD {official['assd_mean']:.2f} mm"
        )
    return start + line
