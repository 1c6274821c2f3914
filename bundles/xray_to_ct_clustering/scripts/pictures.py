"""Pictures of a case: the preview of a result, and CT and prediction side by side for the worst of a validation."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from .hounsfield import PICTURE_WINDOW, intensity_to_hu
from .metrics import psnr
from .shared.pictures.volume_preview import label_colour

PLANES = ("coronal", "sagittal", "axial")
LINE = 74  # characters of the text
MAX_LINES = 11


@dataclass(frozen=True)
class Shown:
    """What is drawn.

    Attributes:
        volume: (6, X, Y, Z), the inferer's output.
        xrays: (2, rows, columns).
        rendered: (2, rows, columns).
        spacing_mm: edge of a voxel.
    """

    volume: Tensor
    xrays: Tensor
    rendered: Tensor
    spacing_mm: float


def plane_of(volume: np.ndarray, name: str, index: int | None = None) -> np.ndarray:
    """A plane (down, right) of a volume (X, Y, Z) along right, anterior, superior, as radiologists look at it.

    Coronal and axial planes have the patient's right on the left, sagittal ones face left as the lateral X-ray does.
    """
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[name]
    cut = np.take(volume, volume.shape[axis] // 2 if index is None else index, axis=axis)
    return cut[::-1, ::-1].T


def cluster_colours(count: int) -> ListedColormap:
    """Colours of the labels 0 to ``count``."""
    return ListedColormap([(0.0, 0.0, 0.0), *(tuple(c / 255 for c in label_colour(k)) for k in range(1, count + 1))])


def stretched(image: Tensor) -> np.ndarray:
    """Image in [0, 1] between its 1st and 99th percentile."""
    low, high = torch.quantile(image.flatten(), torch.tensor([0.01, 0.99]))
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1).numpy()


def show(axes: Axes, image: np.ndarray, title: str, **options: Any) -> Any:
    """An image without axes."""
    drawn = axes.imshow(image, interpolation="nearest", **options)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    return drawn


def draw_case(shown: Shown, document: Mapping[str, Any]) -> Figure:
    """Three rows: frontal X-ray and coronal plane, lateral X-ray and sagittal plane, text and axial plane."""
    hu, uncertainty, labels = (channel.nan_to_num().numpy() for channel in shown.volume[:3])
    count = int(labels.max())
    figure = Figure(figsize=(13, 8.2), layout="constrained")
    grid = figure.add_gridspec(3, 5)
    top = max(float(np.quantile(uncertainty, 0.995)), 1.0)
    for row, (plane, view) in enumerate(zip(PLANES, ("frontal", "lateral", None), strict=True)):
        if view is not None:
            similarity = document["similarity"][view]
            show(figure.add_subplot(grid[row, 0]), stretched(shown.xrays[row]), f"{view} X-ray", cmap="gray")
            title = f"the volume, rendered: similarity {similarity:.2f}"
            show(figure.add_subplot(grid[row, 1]), stretched(shown.rendered[row]), title, cmap="gray")
        low, high = PICTURE_WINDOW
        show(figure.add_subplot(grid[row, 2]), plane_of(hu, plane), f"{plane}, HU", cmap="gray", vmin=low, vmax=high)
        colours = cluster_colours(count)
        show(figure.add_subplot(grid[row, 3]), plane_of(labels, plane), "clusters", cmap=colours, vmin=0, vmax=count)
        axes = figure.add_subplot(grid[row, 4])
        drawn = show(axes, plane_of(uncertainty, plane), "expected error, HU", cmap="inferno", vmin=0, vmax=top)
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    axes = figure.add_subplot(grid[2, :2])
    axes.set_axis_off()
    lines = [line for text in document["warnings"] for line in textwrap.wrap(text, LINE, subsequent_indent="   ")]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], "… (all of them in the JSON)"]
    axes.text(0, 1, "\n".join(lines) or "no warnings", va="top", fontsize=8.5, wrap=False)
    verdict = "accepted" if document["accepted"] else "REJECTED: not to be used"
    figure.suptitle(
        f"{document['case']}: {verdict}", fontsize=13, color="black" if document["accepted"] else "firebrick"
    )
    return figure


def draw_comparison(axes: Axes, item: Mapping[str, Any]) -> None:
    """Coronal (above) and axial plane of the CT, left, and of the prediction, right.

    Args:
        axes: where to draw.
        item: ``label`` and ``pred`` (1, X, Y, Z), intensities.
    """
    volumes = [intensity_to_hu(torch.as_tensor(item[key])[0].float()).cpu().numpy() for key in ("label", "pred")]
    rows = [np.concatenate([plane_of(volume, name) for volume in volumes], axis=1) for name in ("coronal", "axial")]
    axes.imshow(
        np.concatenate(rows), cmap="gray", vmin=PICTURE_WINDOW[0], vmax=PICTURE_WINDOW[1], interpolation="nearest"
    )


def badness(item: Mapping[str, Any]) -> float:
    """The PSNR in dB, negative, so that higher is worse."""
    return -psnr(torch.as_tensor(item["pred"]), torch.as_tensor(item["label"]))
