"""Predicted volumes against the CTs from which the X-rays were rendered: figures, maps and tables."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor

from .cluster_terms import assignment_entropy
from .data_tissues import TISSUES, body_of, tissue_map
from .evaluation_clusters import cluster_figures, cluster_rows, merged_rows
from .metrics import FIGURES, mae_hu, psnr
from .reprojection import HU_RANGE, ReprojectionLoss, intensity_to_hu
from .shared.engines.settings import flag
from .shared.evaluation.reports import plain, write_metrics
from .shared.io.atomic import atomic_path
from .shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine
from .shared.networks.clustering.tracking import PositionIntensityTracker
from .voxel_clusters import voxel_clusters

SPAN_HU = HU_RANGE[1] - HU_RANGE[0]
CHANNELS = ("intensity", "uncertainty", "cluster", "confidence", "entropy")
KINDS = {"phantoms": True, "patients": False}  # whether the names of the cases begin with "phantom_"


class EvaluationInferer(Inferer):
    """The generator's volume and clusters as channels of one tensor.

    Args:
        amp: bfloat16 where the operations allow it.

    Input (B, 2, rows, columns); output (B, 5, X, Y, Z) float32: predicted intensity, its expected error, cluster
    (0 to K - 1), its probability, entropy of the assignment of the voxel's token over log K. Of a network without
    clusters all but the first are NaN.
    """

    def __init__(self, amp: bool = False) -> None:
        super().__init__()
        self.amp = flag("amp", amp)

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        generator, image = network.generator, inputs.as_subclass(Tensor)
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=self.amp):
            output = generator(image[:, :1], image[:, 1:])
        volume = output["pred_volume"].float().clamp(0, 1)
        if generator.clustering is None:
            return torch.cat([volume, *[torch.full_like(volume, torch.nan)] * (len(CHANNELS) - 1)], dim=1)
        similarity, grid = output["cluster_similarity"].float(), list(generator.grid)
        label, confidence = voxel_clusters(generator.clustering, similarity, grid, volume)
        if not getattr(generator, "use_clustering", True):
            label, confidence = torch.full_like(volume, torch.nan), torch.full_like(volume, torch.nan)
        entropy = assignment_entropy(output["cluster_assignments"].float()).unflatten(1, grid)[:, None]
        entropy = torch.nn.functional.interpolate(entropy, size=volume.shape[2:], mode="nearest")
        return torch.cat([volume, output["uncertainty"].float(), label.to(volume.dtype), confidence, entropy], dim=1)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two tensors of one shape."""
    ranks = [values.flatten().argsort().argsort().double() for values in (first, second)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def save_map(values: Tensor, voxel_mm: float, path: Path) -> None:
    """Write a map (X, Y, Z) as NIfTI on the grid of the volume."""
    image = nibabel.Nifti1Image(values.cpu().numpy(), volume_affine(values.shape, voxel_mm).numpy())
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def measure_case(
    item: Mapping[str, Any],
    geometry: BiplanarGeometry,
    voxel_mm: float,
    num_clusters: int,
    output_dir: str | os.PathLike,
    save_maps: bool = True,
) -> dict[str, Any]:
    """Row of figures of one case; the maps and the table of its clusters are written.

    Args:
        item: with "case", "image", "label", "distances" and "pred" (5, X, Y, Z).
        geometry: of the views.
        voxel_mm: edge of a voxel.
        num_clusters: K.
        output_dir: the maps go to ``maps/<case>_<map>.nii.gz``: error_hu (signed), position_accuracy, cluster,
            uncertainty_hu.
        save_maps: whether to write them.
    """
    pred = dict(zip(CHANNELS, torch.as_tensor(item["pred"]).as_subclass(Tensor).cpu(), strict=True))
    truth, volume = torch.as_tensor(item["label"]).as_subclass(Tensor).cpu()[0], pred["intensity"]
    body = body_of(truth)
    tissues = tissue_map(truth, body)
    lung = tissues == TISSUES["lung"]
    row: dict[str, Any] = {"case": str(item["case"])}
    row |= {name: figure(volume, truth) for name, figure in FIGURES.items()}
    for name, where in (("body", body), ("lungs", lung)):
        row |= {f"mae_hu_{name}": mae_hu(volume, truth, where), f"psnr_{name}": psnr(volume, truth, where)}
    source, sdd, pixel = torch.as_tensor(item["distances"]).tolist()
    seen = dataclasses.replace(geometry, source_to_isocenter_mm=source, sdd_mm=sdd, pixel_mm=pixel)
    images = torch.as_tensor(item["image"]).as_subclass(Tensor).cpu()
    similarity = ReprojectionLoss(seen, voxel_mm).similarity(volume[None, None], images[None])[0]
    row |= {"consistency_frontal": float(similarity[0]), "consistency_lateral": float(similarity[1])}
    maps = PositionIntensityTracker()(volume[None, None], truth[None, None])
    row["position_accuracy"] = float(maps["position_accuracy"].sum() / maps["position_weight"].sum())
    written = {
        "error_hu": ((volume - truth) * SPAN_HU).round().to(torch.int16),
        "position_accuracy": maps["position_accuracy"][0].float(),
    }
    if bool(pred["uncertainty"].isfinite().all()):
        row["uncertainty_rank_correlation"] = rank_correlation(pred["uncertainty"][body], (volume - truth).abs()[body])
        written["uncertainty_hu"] = (pred["uncertainty"] * SPAN_HU).float()
    if bool(pred["cluster"].isfinite().all()):
        labels = pred["cluster"].round().long()
        found = tissue_map(volume)
        row |= cluster_figures(labels, pred["confidence"], pred["entropy"], volume, tissues, found, num_clusters)
        row["clusters"] = cluster_rows(labels, volume, truth, tissues, num_clusters)
        written["cluster"] = (labels + 1).to(torch.int16)
    if flag("save_maps", save_maps):
        written["pred_hu"] = intensity_to_hu(volume).round().to(torch.int16)
        for name, values in written.items():
            save_map(values, voxel_mm, Path(output_dir) / "maps" / f"{item['case']}_{name}.nii.gz")
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
            f"{name} ({figures['cases']}): PSNR {figures['psnr']:.2f} dB (peak 4095: {figures['psnr_x2ct']:.2f}), "
            f"SSIM 3-D {figures['ssim_3d']:.3f}, slices {figures['ssim_slices']:.3f}, MAE {figures['mae_hu']:.1f} HU"
        )
