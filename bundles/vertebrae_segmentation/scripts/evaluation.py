"""Measuring label maps of vertebrae besides their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from .metrics import FIGURES, VerSeMetrics
from .shared.geometry.frames import voxel_sizes
from .shared.geometry.grids import volume_affine
from .shared.spine.crops import sample_grid
from .shared.spine.evaluation import VERTEBRAE, Measures, Truth
from .shared.spine.label_evaluation import label_figures, label_headline, summarize_labels
from .shared.spine.labels import craniocaudal_order
from .shared.spine.localization_metrics import MODES


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
    spacing = voxel_sizes(affine)
    results = {mode: VerSeMetrics(tuple(spacing), mode, labels) for mode in MODES}
    rows = results["official"].evaluate_case(array, gt)["per_vertebra"]
    official = results["official"].aggregate(rows.values())
    strict = results["strict"].aggregate(rows.values())
    return {
        **{f"{name}_mean": official[f"{name}_mean"] for name in FIGURES},
        "strict_dice_mean": strict["dice_mean"],
        "per_vertebra": rows,
    }


def label_map_figures(result: Mapping[str, Any] | None, pred: MetaTensor | None, truth: Truth) -> dict[str, Any]:
    """Figures of one case: those of the names, and those of the label map where the truth has one."""
    row = label_figures(result, truth)
    return row if truth.labels is None else row | mask_figures(pred, truth)


def summarize(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures over all cases, those of both modes under their names, and those of each vertebra."""
    summary, more = summarize_labels(rows, FIGURES)
    measured = [figures for row in rows for figures in row.get("per_vertebra", {}).values()]
    for mode in MODES if measured else ():
        overlap = VerSeMetrics(mode=mode).aggregate(measured)
        summary[mode] |= {name: value for name, value in overlap.items() if name.endswith(("_mean", "_sd"))}
    return summary, more


def headline(summary: Mapping[str, Any]) -> str:
    """The main figures in one line."""
    official, strict = summary["official"], summary["strict"]
    line = label_headline(summary)
    if "dice_mean" in official:
        line += (
            f"; Dice {official['dice_mean']:.3f} official, {strict['dice_mean']:.3f} strict, "
            f"HD95 {official['hd95_mean']:.1f} mm, ASSD {official['assd_mean']:.2f} mm"
        )
    return line


MEASURES = Measures(label_map_figures, summarize, headline)
report = MEASURES.report
