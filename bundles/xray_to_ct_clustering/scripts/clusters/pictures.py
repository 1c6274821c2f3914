"""Pictures of the clusters of a case: in space, their intensities, where each lies."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

from ..hounsfield import BODY_FROM_HU, HU_RANGE
from ..pictures import cluster_colours, plane_of
from ..results import cluster_table
from ..shared.geometry.frames import plain_tensor
from ..shared.io.json_files import write_json
from ..shared.pictures.files import save_picture

STEP = 2  # voxels of the volume along the edge of one of the picture in space
# name, azimuth of the eye in degrees from the patient's right to the front, side of x that is cut away
SIGHTS = (("from the right and the front", 55, 1), ("from the left and the front", 125, -1))
COLUMNS = 6  # of a page
HU_BINS = np.linspace(*HU_RANGE, 101)


def outside_air(hu: np.ndarray) -> np.ndarray:
    """Voxels (X, Y, Z) bool of the air around the body: all that reaches the sides, front or back of the volume."""
    pieces, _ = ndimage.label(hu < BODY_FROM_HU)
    ends = [pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]
    touching = np.unique(np.concatenate([end.ravel() for end in ends]))
    return np.isin(pieces, touching[touching > 0])


def draw_space(hu: np.ndarray, labels: np.ndarray, spacing_mm: float, colours: Mapping[int, Any], title: str) -> Figure:
    """The body in the colours of its clusters, an upper front quarter cut out, from two sides."""
    shown = np.where(outside_air(hu), 0, labels)[::STEP, ::STEP, ::STEP]
    x, y, z = (np.indices(shown.shape).transpose(1, 2, 3, 0) - (np.array(shown.shape) - 1) / 2).transpose(3, 0, 1, 2)
    ink = np.array([colours[label][:3] for label in range(len(colours))])[shown]
    edges = np.indices([length + 1 for length in shown.shape]).astype(float) * STEP * spacing_mm
    edges -= (np.array(shown.shape) * STEP * spacing_mm / 2)[:, None, None, None]
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    for number, (name, azimuth, side) in enumerate(SIGHTS):
        axes: Any = figure.add_subplot(1, 2, number + 1, projection="3d")
        kept = (shown > 0) & ~((side * x > 0) & (y > 0) & (z > -shown.shape[2] / 4))
        axes.voxels(*edges, kept, facecolors=ink, edgecolors=None, linewidth=0)
        axes.view_init(elev=22, azim=azimuth)
        axes.set_box_aspect((1, 1, 1))
        axes.set_xlabel("x to the left −, right +, mm")
        axes.set_ylabel("y to the back −, front +, mm")
        axes.set_zlabel("z, mm")
        axes.tick_params(labelsize=7)
        axes.set_title(name, fontsize=10)
    figure.suptitle(title)
    return figure


def by_intensity(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The clusters in the order of their mean intensity."""
    return sorted(table, key=lambda row: row["mean_hu"])


def panels(figure: Figure, count: int) -> list[Axes]:
    """Places of ``count`` small pictures on a page."""
    rows = -(-count // COLUMNS)
    return [figure.add_subplot(rows, COLUMNS, number + 1) for number in range(count)]


def page(count: int, title: str, height: float) -> Figure:
    """An empty page for ``count`` small pictures of some height in inches."""
    figure = Figure(figsize=(2.4 * COLUMNS, height * -(-count // COLUMNS) + 0.6), layout="constrained")
    figure.suptitle(title)
    return figure


def draw_histograms(
    hu: np.ndarray, labels: np.ndarray, table: list[dict[str, Any]], colours: Mapping[int, Any], title: str
) -> Figure:
    """Histogram of the intensity inside each cluster, that of the whole volume behind it."""
    rows = by_intensity(table)
    figure = page(len(rows), title, 2.0)
    everything = np.histogram(hu, HU_BINS)[0] / hu.size
    for axes, row in zip(panels(figure, len(rows)), rows, strict=True):
        inside = np.histogram(hu[labels == row["label"]], HU_BINS)[0] / row["voxels"]
        axes.stairs(everything / everything.max(), HU_BINS, color="0.8", fill=True)
        axes.stairs(inside / inside.max(), HU_BINS, color=colours[row["label"]], fill=True)
        axes.set_title(f"{row['name']}: {row['mean_hu']:.0f} ± {row['sd_hu']:.0f} HU", fontsize=8)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        axes.set_xlim(-1024, 800)
    return figure


def draw_distribution(
    hu: np.ndarray, labels: np.ndarray, table: list[dict[str, Any]], colours: Mapping[int, Any], title: str
) -> Figure:
    """Where the voxels of each cluster lie, seen from the front and from the side, over the body."""
    rows = by_intensity(table)
    figure = page(len(rows), title, 1.5)
    body = [plane_of(np.repeat(hu.mean(axis=axis, keepdims=True), 1, axis), name, 0) for name, axis in SIDES.items()]
    behind = np.concatenate(body, axis=1)
    low, high = np.quantile(behind, [0.02, 0.98])
    grey = np.clip((behind - low) / max(high - low, 1e-6), 0, 1)[..., None] * 0.55
    for axes, row in zip(panels(figure, len(rows)), rows, strict=True):
        inside = (labels == row["label"]).astype(float)
        views = [plane_of(inside.mean(axis=axis, keepdims=True), name, 0) for name, axis in SIDES.items()]
        share = np.concatenate(views, axis=1)[..., None]
        share = np.sqrt(share / max(share.max(), 1e-9))
        axes.imshow((1 - share) * grey + share * np.array(colours[row["label"]][:3]), interpolation="nearest")
        axes.set_title(f"{row['name']}: {row['voxels']} voxels", fontsize=8)
        axes.set_axis_off()
    return figure


SIDES = {"coronal": 1, "sagittal": 0}  # plane and the axis that is looked along


class ClusterPicturesd(MapTransform):
    """Draws the clusters of a case.

    ``<case>_clusters_3d.png``, ``<case>_clusters_histograms.png``, ``<case>_clusters_space.png`` and
    ``<case>_clusters.json`` (the table) are written.

    Args:
        keys: prediction (6, X, Y, Z) of the inferer.
        spacing_mm: edge of a voxel.
        output_dir: folder.
    """

    def __init__(self, keys: KeysCollection, spacing_mm: float, output_dir: str | os.PathLike) -> None:
        super().__init__(keys)
        self.spacing_mm, self.output_dir = spacing_mm, Path(str(output_dir))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case = str(data["case"])
        for key in self.key_iterator(dict(data)):
            volume = plain_tensor(data[key]).float().cpu()
            hu, labels = volume[0].numpy(), volume[2].round().numpy().astype(int)
            table = cluster_table(volume, self.spacing_mm)
            palette = cluster_colours(int(labels.max()))
            colours = {label: palette(label) for label in range(int(labels.max()) + 1)}
            start = self.output_dir / f"{case}_clusters"
            figures = {
                "3d": draw_space(hu, labels, self.spacing_mm, colours, f"{case}: clusters in space"),
                "histograms": draw_histograms(hu, labels, table, colours, f"{case}: intensities of the clusters"),
                "space": draw_distribution(hu, labels, table, colours, f"{case}: where the clusters lie"),
            }
            for name, figure in figures.items():
                save_picture(figure, start.with_name(f"{start.name}_{name}.png"))
            write_json(start.with_name(f"{start.name}.json"), {"case": case, "clusters": table})
        return dict(data)
