"""Predicted volumes against the true CTs: figures, maps and tables."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .clusters.metrics import cluster_figures, cluster_rows, merged_rows
from .hounsfield import HU_RANGE, SPAN_HU, TISSUES, body_of, hu_to_intensity, tissue_map
from .inferer import CHANNELS
from .metrics import FIGURES, mae_hu, psnr
from .roi import roi_weight_map
from .shared.engines.settings import flag
from .shared.evaluation.reports import plain, write_metrics
from .shared.geometry.frames import plain_tensor
from .shared.io.atomic import atomic_path
from .shared.io.writers import write_nifti
from .shared.networks.clustering.biplanar import volume_affine
from .shared.networks.clustering.tracking import PositionIntensityTracker
from .truth import read_regions, read_truth

KINDS = {"phantoms": True, "patients": False}  # whether the names of the cases begin with "phantom_"


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two tensors of one shape."""
    ranks = [values.flatten().argsort().argsort().double() for values in (first, second)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def measure_case(
    item: Mapping[str, Any],
    spacing_mm: float,
    output_dir: str | os.PathLike,
    save_maps: bool = True,
    position_width: float = 1.0,
    labels_dir: str | os.PathLike | None = None,
    region_weights: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Row of figures of one case; the maps are written.

    Voxels that the CT does not cover do not count; for SSIM they are air in both volumes.

    Args:
        item: of inference, with "case", "truth" (path of the CT), "channels" of the inferer and "result".
        spacing_mm: edge of a voxel.
        output_dir: ``maps/<case>_<map>.nii.gz`` go there: error_hu (signed), position_accuracy, contrast_error_hu.
        save_maps: whether to write them.
        position_width: of the weight in the position accuracy, see `PositionIntensityTracker`.
        labels_dir: folder of label maps ``<case>`` in the world of the volume; None: no regions.
        region_weights: weight of these labels in the position accuracy; 1 for those not named.
    """
    pred = dict(zip(CHANNELS, plain_tensor(item["channels"]).cpu(), strict=True))
    size, result = pred["hu"].shape, item["result"]
    true_hu = read_truth(item["truth"], tuple(size), spacing_mm)
    known = true_hu.isfinite()
    volume, truth = (
        hu_to_intensity(torch.where(known, hu, torch.full_like(hu, HU_RANGE[0]))) for hu in (pred["hu"], true_hu)
    )
    body = body_of(truth)
    tissues = {"true": tissue_map(truth, body), "predicted": tissue_map(volume)}
    row: dict[str, Any] = {
        "case": str(item["case"]),
        "accepted": result["accepted"],
        "known": float(known.float().mean()),
    }
    row |= {name: figure(volume, truth, known) for name, figure in FIGURES.items()}
    for name, where in (("body", body), ("lungs", tissues["true"] == TISSUES["lung"])):
        row |= {f"mae_hu_{name}": mae_hu(volume, truth, where), f"psnr_{name}": psnr(volume, truth, where)}
    row |= {f"consistency_{view}": value for view, value in result["similarity"].items()}
    weight = None
    if labels_dir is not None:
        regions = read_regions(labels_dir, str(item["case"]), size, spacing_mm)
        weight = roi_weight_map(regions, {int(label): one for label, one in (region_weights or {}).items()})[None, None]
    covered = torch.where(known, truth, torch.nan)[None, None]
    maps = PositionIntensityTracker(position_width)(volume[None, None], covered, weight)
    maps = {name: value[0] for name, value in maps.items()}
    row["position_accuracy"] = float(maps["position_accuracy"].sum() / maps["position_weight"].sum())
    row["contrast_error_hu"] = float(maps["contrast_error"][known].mean()) * SPAN_HU
    if bool(pred["uncertainty_hu"].isfinite().all()):
        error = (volume - truth).abs()[body]
        row["uncertainty_rank_correlation"] = rank_correlation(pred["uncertainty_hu"][body], error)
    labels = pred["cluster"].long()
    if int(labels.max()):
        places = torch.stack(torch.meshgrid(*[torch.arange(length) for length in size], indexing="ij"), dim=-1)
        inside = {name: values[known] for name, values in tissues.items()}
        row |= cluster_figures(
            labels[known], pred["confidence"][known], pred["entropy"][known], pred["hu"][known],
            places[known] * spacing_mm, inside,
        )  # fmt: skip
        row["clusters"] = cluster_rows(labels[known], pred["hu"][known], true_hu[known], inside["true"])
    if flag("save_maps", save_maps):
        written = {
            "error_hu": ((volume - truth) * SPAN_HU).round().to(torch.int16),
            "position_accuracy": maps["position_accuracy"],
            "contrast_error_hu": maps["contrast_error"] * SPAN_HU,
        }
        for name, values in written.items():
            path = Path(output_dir) / "maps" / f"{item['case']}_{name}.nii.gz"
            write_nifti(values, volume_affine(size, spacing_mm), path)
    return row


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of all figures over all cases, and over phantoms and patients where there are both."""

    def means(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names = dict.fromkeys(name for row in some for name, value in row.items() if isinstance(value, int | float))
        values = {name: [row[name] for row in some if name in row] for name in names}
        return {"cases": len(some)} | {name: float(np.nanmean(found)) for name, found in values.items()}

    summary = means(rows)
    for name, phantom in KINDS.items():
        some = [row for row in rows if str(row["case"]).startswith("phantom_") is phantom]
        if 0 < len(some) < len(rows):
            summary[name] = means(some)
    return summary


def write_report(rows: list[Mapping[str, Any]], output_dir: str | os.PathLike) -> None:
    """metrics.json, metrics.csv and clusters.csv; one line per kind of case on the console."""
    summary = summarize(rows)
    clusters = merged_rows([row["clusters"] for row in rows if "clusters" in row])
    write_metrics(output_dir, rows, summary, clusters=clusters)
    if clusters:
        with atomic_path(Path(output_dir) / "clusters.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(clusters[0]))
            writer.writeheader()
            writer.writerows(plain(clusters))
    for name, figures in {"all": summary, **{k: summary[k] for k in KINDS if k in summary}}.items():
        print(
            f"{name} ({figures['cases']}, {figures['accepted']:.0%} accepted): "
            f"PSNR {figures['psnr']:.2f} dB (peak 4095: {figures['psnr_x2ct']:.2f}), "
            f"SSIM 3-D {figures['ssim_3d']:.3f}, slices {figures['ssim_slices']:.3f}, MAE {figures['mae_hu']:.1f} HU"
        )
