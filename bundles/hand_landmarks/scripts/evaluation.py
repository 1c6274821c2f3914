"""Errors of found landmarks against reference points: per landmark, per image, over all, and as a plot."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from .landmark_set import LandmarkSet
from .points import pixel_sizes, to_file_indices
from .shared.evaluation.point_metrics import RADII_MM, image_errors, point_errors, summarize_errors
from .shared.evaluation.reports import write_metrics
from .shared.geometry.frames import plain_tensor
from .shared.io.point_files import LandmarkRow, match_landmarks
from .shared.pictures.files import save_picture

RADII_PX = (10.0,)
IPE_SIZE = 256


def reference_scales(truth: Tensor, image: MetaTensor, landmark_set: LandmarkSet) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres per pixel along x and y by the size convention of the set, as in the published figures, and pixels at
    256 per pixel (the long edge of the file has 256).

    Args:
        truth: (K, 2) in pixels of the file.
        image: any image of the case, for the form of its pixels and the size of the file.
        landmark_set: of the landmarks.
    """
    shape = pixel_sizes(image.meta["original_affine"])
    mm_per_pixel = landmark_set.mm_per_unit(truth.numpy() * shape) * shape
    size = float(torch.as_tensor(image.meta["spatial_shape"]).max())
    return mm_per_pixel, np.full(2, IPE_SIZE / size)


class HandPointsd(MapTransform):
    """Add what the validation of a training compares: a prediction (K, 3) and the reference of its case.

    Adds ``points`` and ``reference`` (K, 2) in pixels of the file and the :func:`reference_scales` ``mm_per_pixel`` and
    ``px256_per_pixel``.

    Args:
        landmark_set: of the landmarks.
        keys: the prediction.
        image_key: canvas in whose indices it comes.
        truth_key: reference points in pixels of the file.
    """

    def __init__(
        self,
        landmark_set: LandmarkSet,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        truth_key: str = "truth",
    ) -> None:
        super().__init__(keys)
        self.landmark_set, self.image_key, self.truth_key = landmark_set, image_key, truth_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        image = output[self.image_key]
        truth = plain_tensor(output[self.truth_key]).double().cpu()
        for key in self.key_iterator(output):
            pred = plain_tensor(output[key]).cpu()
            output["points"] = to_file_indices(pred[:, :2], image)
            output["reference"] = truth
            scales = reference_scales(truth, image, self.landmark_set)
            output["mm_per_pixel"], output["px256_per_pixel"] = map(torch.as_tensor, scales)
        return output


def case_error(item: Mapping[str, Any]) -> float:
    """Largest point error of a case in mm, by which the worst cases are chosen."""
    return float(point_errors(item["points"], torch.as_tensor(item["reference"]), item["mm_per_pixel"]).max())


def draw_case(axes: Axes, item: Mapping[str, Any]) -> None:
    """Draw the canvas of a case with its found (yellow) and true (green) landmarks, joined by red lines."""
    image = plain_tensor(item["image"]).cpu()
    found = torch.as_tensor(item["pred"])[:, :2].cpu().float().numpy()
    truth = torch.as_tensor(item["landmarks"]).cpu().numpy()
    axes.imshow(image[0].T, cmap="gray", vmin=0, vmax=1)
    for start, end in zip(truth, found, strict=True):
        axes.plot([start[0], end[0]], [start[1], end[1]], color="red", linewidth=0.8)
    axes.plot(*truth.T, "+", color="lime", markersize=4, markeredgewidth=0.7)
    axes.plot(*found.T, "o", color="yellow", markersize=3, markeredgewidth=0.6, fillstyle="none")


def plot_cumulative_errors(errors_mm: np.ndarray, limit_mm: float = 6.0) -> Figure:
    """Fraction of the landmarks within a distance, over the distance.

    Args:
        errors_mm: (N, K).
        limit_mm: end of the axis.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    values = np.sort(errors_mm.ravel())
    axes.step(values, np.arange(1, len(values) + 1) / len(values) * 100, where="post", color="tab:blue")
    for radius in (value for value in RADII_MM if value <= limit_mm):
        within = (values <= radius).mean() * 100
        axes.axvline(radius, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate(f"{within:.1f} % within {radius:g} mm", (radius, within), (6, -16), textcoords="offset points")
    axes.set(xlim=(0, limit_mm), ylim=(0, 102), xlabel="point error in mm", ylabel="landmarks in %")
    axes.set_title(f"{errors_mm.shape[0]} radiographs, {errors_mm.shape[1]} landmarks each", fontsize=10)
    axes.grid(alpha=0.3)
    return figure


class HandErrors:
    """What the evaluation of an inference measures and writes.

    Args:
        rows: of the landmark table.
        table: its path, for messages.
        landmark_set: of the landmarks.
        output_dir: where the figures go.
    """

    def __init__(self, rows: Sequence[LandmarkRow], table: str, landmark_set: LandmarkSet, output_dir: str) -> None:
        self.rows, self.table, self.landmark_set, self.output_dir = rows, table, landmark_set, Path(output_dir)

    def measure(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Row of one case: errors of all landmarks in mm and in pixels at 256, their means, the lowest confidence.

        Args:
            item: a case after the postprocessing of the inference.

        Raises:
            CaseError: when the table has no row of the case.
        """
        original = item["original"]
        case = {"image": str(original.meta["filename_or_obj"]), "case": str(item["case"])}
        if "hand" in item:  # the row of a picture does not say which of its hands it means
            case["image"] = case["case"]
        truth = torch.as_tensor(match_landmarks([case], self.rows, self.table)[0]["landmarks"])
        found = plain_tensor(item["found"]).cpu()
        errors_mm, errors_px = (
            point_errors(found[:, :2], truth, torch.as_tensor(scale))
            for scale in reference_scales(truth, original, self.landmark_set)
        )
        return {
            "case": case["case"],
            "pe_mean_mm": float(image_errors(errors_mm)[0]),
            "pe_max_mm": float(errors_mm.max()),
            "ipe_px256": float(image_errors(errors_px)[0]),
            "confidence_min": float(found[:, 2].min()),
            "confidence": found[:, 2].tolist(),
            "errors_mm": errors_mm.tolist(),
            "errors_px256": errors_px.tolist(),
        }

    def report(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.json, metrics.csv and cumulative_error.png of all measured cases."""
        if not rows:
            return
        errors_mm = np.array([row["errors_mm"] for row in rows])
        errors_px = np.array([row["errors_px256"] for row in rows])
        summary = summarize_errors(errors_mm, "mm", RADII_MM) | summarize_errors(errors_px, "px256", RADII_PX)
        # Outliers per image, as published implementations of the small hand network count them.
        summary["outliers_10px256_per_image"] = summary["outliers_10px256"] / len(rows)
        landmarks = [
            {
                "index": index,
                "name": name,
                "pe_mean_mm": float(errors_mm[:, index].mean()),
                "pe_median_mm": float(np.median(errors_mm[:, index])),
                "pe_max_mm": float(errors_mm[:, index].max()),
            }
            for index, name in enumerate(self.landmark_set.names)
        ]
        write_metrics(self.output_dir, rows, summary, landmarks=landmarks)
        save_picture(plot_cumulative_errors(errors_mm), self.output_dir / "cumulative_error.png")
        print(
            f"PE {summary['pe_mean_mm']:.3f} +- {summary['pe_sd_mm']:.3f} mm, median {summary['pe_median_mm']:.3f} mm; "
            + ", ".join(f"{summary[f'within_{r:g}mm']:.2%} within {r:g} mm" for r in RADII_MM)
            + f"; IPE {summary['ipe_mean_px256']:.3f} px at 256"
        )
