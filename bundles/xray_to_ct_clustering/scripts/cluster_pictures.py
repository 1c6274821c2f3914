"""Pictures of the clusters of a case: in space, their intensities, where each lies."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage
from torch import Tensor

from .preview import cluster_colours, plane_of
from .results import cluster_table, tissue_name
from .shared.json_files import write_json
from .shared.plots import save_figure

MAX_POINTS = 5000  # of the picture in space
ANGLES = {"from the front": (8, 90), "from the patient's left": (8, 0), "from above": (80, 90)}  # elevation, azimuth
COLUMNS, ROWS = 6, 4
HU_BINS = np.linspace(-1024, 1476, 101)


def surfaces(labels: np.ndarray) -> np.ndarray:
    """Voxels (X, Y, Z) bool that have a neighbour of another label or lie at the edge."""
    inner = np.ones(labels.shape, dtype=bool)
    for axis in range(3):
        for step in (1, -1):
            moved = np.roll(labels, step, axis=axis)
            inner &= moved == labels
    core = np.zeros(labels.shape, dtype=bool)
    core[1:-1, 1:-1, 1:-1] = True
    return ~inner | ~core


def draw_space(hu: np.ndarray, labels: np.ndarray, voxel_mm: float, colours: Mapping[int, Any], title: str) -> Figure:
    """The surfaces of all clusters that hold no air, their front half cut away, from three sides."""
    means = ndimage.mean(hu, labels, index=np.arange(labels.max() + 1))
    solid = np.isin(labels, [k for k in np.unique(labels) if tissue_name(float(means[k])) != "air"])
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    rng = np.random.default_rng(0)
    middle = (np.array(labels.shape) - 1) / 2
    cuts = {"from the front": (1, 1), "from the patient's left": (0, -1), "from above": (2, 1)}
    for number, (name, (elevation, azimuth)) in enumerate(ANGLES.items()):
        axis, side = cuts[name]
        kept = solid & surfaces(labels)
        index = np.indices(labels.shape)[axis]
        # what lies towards the viewer is cut away, and the cut is shown whole
        kept &= (index - middle[axis]) * side < 0
        kept |= solid & (np.abs(index - middle[axis] + side) < 1)
        points = np.argwhere(kept)
        if len(points) > MAX_POINTS:
            points = points[rng.choice(len(points), MAX_POINTS, replace=False)]
        axes: Any = figure.add_subplot(1, 3, number + 1, projection="3d")
        place = (points - middle) * voxel_mm
        ink = [colours[int(labels[tuple(point)])] for point in points]
        axes.scatter(*place.T, c=ink, s=14, marker="s", linewidths=0, alpha=1.0, depthshade=False)
        axes.view_init(elev=elevation, azim=azimuth)
        axes.set_box_aspect((1, 1, 1))
        axes.set_xlabel("R → x, mm" if name != "from the patient's left" else "")
        axes.set_ylabel("y, mm" if name != "from the front" else "")
        axes.set_zlabel("z, mm" if name != "from above" else "")
        axes.tick_params(labelsize=7)
        axes.set_title(f"{name}, cut open", fontsize=10)
    figure.suptitle(title)
    return figure


def largest(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The clusters with most voxels, as many as a page has places, in the order of their mean intensity."""
    kept = sorted(table, key=lambda row: -row["voxels"])[: COLUMNS * ROWS]
    return sorted(kept, key=lambda row: row["mean_hu"])


def panels(figure: Figure, count: int) -> list[Axes]:
    """Places of ``count`` small pictures on a page."""
    rows = -(-count // COLUMNS)
    return [figure.add_subplot(rows, COLUMNS, number + 1) for number in range(count)]


def page(count: int, title: str) -> Figure:
    """An empty page for ``count`` small pictures."""
    figure = Figure(figsize=(2.4 * COLUMNS, 2.1 * -(-count // COLUMNS) + 0.6), layout="constrained")
    figure.suptitle(title)
    return figure


def draw_histograms(
    hu: np.ndarray, labels: np.ndarray, table: list[dict[str, Any]], colours: Mapping[int, Any], title: str
) -> Figure:
    """Histogram of the intensity inside each of the largest clusters, that of the whole volume behind it."""
    rows = largest(table)
    figure = page(len(rows), title)
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
    """Where the voxels of each of the largest clusters lie, seen from the front and from the side, over the body."""
    rows = largest(table)
    figure = page(len(rows), title)
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
        keys: prediction (4, X, Y, Z) of the inferer.
        voxel_mm: edge of a voxel.
        output_dir: folder.
    """

    def __init__(self, keys: KeysCollection, voxel_mm: float, output_dir: str | os.PathLike) -> None:
        super().__init__(keys)
        self.voxel_mm, self.output_dir = voxel_mm, Path(str(output_dir))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case = str(data["case"])
        for key in self.key_iterator(dict(data)):
            volume = torch.as_tensor(data[key]).as_subclass(Tensor).float().cpu()
            hu, labels = volume[0].numpy(), volume[2].round().numpy().astype(int)
            table = cluster_table(volume, self.voxel_mm)
            palette = cluster_colours(int(labels.max()))
            colours = {label: palette(label) for label in range(int(labels.max()) + 1)}
            start = self.output_dir / f"{case}_clusters"
            figures = {
                "3d": draw_space(hu, labels, self.voxel_mm, colours, f"{case}: clusters in space"),
                "histograms": draw_histograms(hu, labels, table, colours, f"{case}: intensities of the clusters"),
                "space": draw_distribution(hu, labels, table, colours, f"{case}: where the clusters lie"),
            }
            for name, figure in figures.items():
                save_figure(figure, start.with_name(f"{start.name}_{name}.png"))
            write_json(start.with_name(f"{start.name}.json"), {"case": case, "clusters": table})
        return dict(data)
