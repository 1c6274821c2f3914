"""Pictures of where a prediction is right: position-weighted accuracy, error heatmaps, consistency of the clusters."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from .clusters.statistics import cluster_separation, cluster_statistics
from .hounsfield import HU_RANGE, PICTURE_WINDOW, SPAN_HU, hu_to_intensity
from .pictures import PLANES, cluster_colours, plane_of, show
from .results import cluster_table
from .shared.geometry.frames import plain_tensor
from .shared.io.json_files import write_json
from .shared.networks.clustering.tracking import PositionIntensityTracker
from .shared.pictures.files import save_picture
from .truth import read_truth, truth_path


def track(volume: Tensor, truth: Tensor) -> tuple[dict[str, Tensor], dict[str, Any], list[dict[str, Any]]]:
    """Maps, figures and the consistency of each cluster.

    Args:
        volume: (6, X, Y, Z), the inferer's output.
        truth: HU (X, Y, Z), NaN where it is not known.

    Returns:
        maps (X, Y, Z) of `PositionIntensityTracker`, errors in HU; figures of the whole; one row per cluster, whose
        ``consistency`` is 1 minus the variance of the true intensity inside of it over that of the whole.
    """
    intensity, known = hu_to_intensity(volume[0]), torch.isfinite(truth)
    true_intensity = torch.where(known, hu_to_intensity(truth), torch.nan)
    tracked = PositionIntensityTracker()(intensity[None, None], true_intensity[None, None])
    maps = {name: value[0] for name, value in tracked.items()}
    for name in ("intensity_error", "contrast_error"):
        maps[name] = maps[name] * SPAN_HU
    members = F.one_hot(volume[2][known].long()).float()[None]
    true_hu, error = truth[known][None], maps["intensity_error"][known][None]
    table = cluster_statistics(members, true_hu, error)
    total = float(true_hu.var(unbiased=False))
    rows = []
    for k in torch.nonzero(table["size"][0])[:, 0].tolist():
        variance = float(table["variance"][0, k])
        rows.append(
            {
                "label": k,
                "voxels": int(table["size"][0, k]),
                "true_mean_hu": round(float(table["mean"][0, k]), 1),
                "true_sd_hu": round(variance**0.5, 1),
                "mae_hu": round(float(table["error"][0, k]), 1),
                "consistency": round(1 - variance / max(total, 1e-6), 4),
            }
        )
    weight = maps["position_weight"]
    figures = {
        "position_accuracy": round(float(maps["position_accuracy"].sum() / weight.sum().clamp(min=1e-6)), 6),
        "mae_hu": round(float(error.mean()), 1),
        "contrast_error_hu": round(float(maps["contrast_error"][known].mean()), 1),
        "cluster_separation": round(float(cluster_separation(members, true_hu)[0]), 4),
        "voxels_known": int(known.sum()),
    }
    return maps, figures, rows


def draw_maps(volume: Tensor, truth: Tensor, maps: Mapping[str, Tensor], title: str) -> Figure:
    """Three planes of truth, prediction, error, position-weighted accuracy and contrast error."""
    figure = Figure(figsize=(15, 8.6), layout="constrained")
    low, high = PICTURE_WINDOW
    top = float(torch.quantile(maps["intensity_error"].flatten()[::7], 0.99).clamp(min=1))
    edge = float(torch.quantile(maps["contrast_error"].flatten()[::7], 0.99).clamp(min=1))
    columns: list[tuple[str, Tensor, dict[str, Any]]] = [
        ("CT, HU", truth.nan_to_num(HU_RANGE[0]), {"cmap": "gray", "vmin": low, "vmax": high}),
        ("prediction, HU", volume[0], {"cmap": "gray", "vmin": low, "vmax": high}),
        ("error, HU", maps["intensity_error"], {"cmap": "inferno", "vmin": 0, "vmax": top}),
        ("position-weighted accuracy", maps["position_accuracy"], {"cmap": "viridis", "vmin": 0, "vmax": 1}),
        ("contrast error, HU", maps["contrast_error"], {"cmap": "inferno", "vmin": 0, "vmax": edge}),
    ]
    for row, plane in enumerate(PLANES):
        for column, (name, values, options) in enumerate(columns):
            axes = figure.add_subplot(3, len(columns), row * len(columns) + column + 1)
            drawn = show(axes, plane_of(values.numpy(), plane), f"{plane}: {name}", **options)
            if column > 1:
                figure.colorbar(drawn, ax=axes, shrink=0.75)
    figure.suptitle(title)
    return figure


def draw_consistency(rows: list[dict[str, Any]], volume: Tensor, table: list[dict[str, Any]], title: str) -> Figure:
    """Consistency score and mean error of the clusters, next to a plane in which they are coloured."""
    shown = sorted(rows, key=lambda row: row["true_mean_hu"])
    names = {row["label"]: row["name"] for row in table}
    count = int(volume[2].max())
    palette = cluster_colours(count)
    figure = Figure(figsize=(14, max(4.0, 0.19 * len(shown) + 1.4)), layout="constrained")
    grid = figure.add_gridspec(1, 3)
    ink = [palette(row["label"]) for row in shown]
    places = np.arange(len(shown))
    for column, (key, label) in enumerate((("consistency", "consistency score"), ("mae_hu", "mean error, HU"))):
        axes = figure.add_subplot(grid[0, column])
        axes.barh(places, [row[key] for row in shown], color=ink)
        axes.set_yticks(places, [names.get(row["label"], str(row["label"])) for row in shown], fontsize=7)
        axes.set_xlabel(label)
        axes.margins(y=0.01)
    axes = figure.add_subplot(grid[0, 2])
    show(axes, plane_of(volume[2].numpy(), "coronal"), "clusters, coronal", cmap=palette, vmin=0, vmax=count)
    figure.suptitle(title)
    return figure


class TrackingPicturesd(MapTransform):
    """Compares a prediction with the true CT in the same world, and draws where it is right.

    ``<case>_tracking.png`` (maps), ``<case>_consistency.png`` (clusters) and ``<case>_tracking.json`` are written.

    Args:
        keys: prediction (6, X, Y, Z) of the inferer.
        truth_dir: folder of ``<case>_ct.nii.gz``, on any grid, the isocentre of the X-rays at the origin.
        spacing_mm: edge of a voxel of the prediction.
        output_dir: folder.

    Raises:
        CaseError: when called, where there is no CT of the case.
    """

    def __init__(
        self,
        keys: KeysCollection,
        truth_dir: str | os.PathLike,
        spacing_mm: float,
        output_dir: str | os.PathLike,
    ) -> None:
        super().__init__(keys)
        self.truth_dir, self.spacing_mm = truth_dir, spacing_mm
        self.output_dir = Path(str(output_dir))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case = str(data["case"])
        for key in self.key_iterator(dict(data)):
            volume = plain_tensor(data[key]).float().cpu()
            truth = read_truth(truth_path(self.truth_dir, case), tuple(volume.shape[1:]), self.spacing_mm)
            maps, figures, rows = track(volume, truth)
            accuracy = f"position-weighted accuracy {figures['position_accuracy']:.3f}"
            title = f"{case}: mean error {figures['mae_hu']} HU, {accuracy}"
            save_picture(draw_maps(volume, truth, maps, title), self.output_dir / f"{case}_tracking.png")
            title = f"{case}: clusters explain {100 * figures['cluster_separation']:.0f} % of the variance of the CT"
            table = cluster_table(volume, self.spacing_mm)
            save_picture(draw_consistency(rows, volume, table, title), self.output_dir / f"{case}_consistency.png")
            write_json(self.output_dir / f"{case}_tracking.json", {"case": case, **figures, "clusters": rows})
        return dict(data)
