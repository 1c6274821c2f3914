"""Write what the network gets: canvases, their landmarks and a picture of canvas and heatmaps, to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .alignment import overview_matrix
from .points import transform_points
from .shared.engines.case_evaluator import CaseDataset
from .shared.engines.process_cases import process_cases
from .shared.geometry.deform import Deformation
from .shared.geometry.frames import plain_tensor
from .shared.geometry.heatmaps import gaussian_heatmaps
from .shared.io.json_files import write_json
from .shared.pictures.files import save_picture


def heatmap_picture(canvas: torch.Tensor, heatmaps: torch.Tensor) -> Image.Image:
    """The network input in grey with the strongest heatmap of every pixel in orange.

    Args:
        canvas: (X, Y) in 0..1.
        heatmaps: (K, X / stride, Y / stride) with peaks of 1.
    """
    grey = Image.fromarray((canvas.T.clamp(0, 1) * 255).byte().numpy()).convert("RGB")
    strength = (heatmaps.amax(dim=0).T.clamp(0, 1) * 255).byte().numpy()
    mask = Image.fromarray(strength).resize(grey.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", grey.size, (255, 140, 0)), grey, mask)


def write_preprocessed(dataset: CaseDataset, output_dir: str, size: Sequence[int], stride: int, sigma: float) -> None:
    """Run the preprocessing of annotated cases and keep its results.

    For each case: ``<case>_canvas.png`` (8 bit), ``<case>_canvas.json`` (map from canvas to file, polarity, landmarks
    in canvas indices) and ``<case>_heatmaps.png``, the network input with its target heatmaps.

    Args:
        dataset: cases with the image and its landmarks, preprocessed.
        output_dir: where to.
        size: (X, Y) of the network input.
        stride: input pixels per heatmap pixel.
        sigma: of the heatmaps in heatmap pixels.

    Raises:
        SystemExit: with code 1 at the end if a case failed.
    """
    folder = Path(output_dir)

    def write(item: Mapping[str, Any]) -> None:
        image, points, case = item["image"], item["landmarks"], item["case"]
        pixels = plain_tensor(image)
        save_picture((pixels[0].T * 255).byte().numpy(), folder / f"{case}_canvas.png")
        to_file = torch.linalg.inv(torch.as_tensor(image.meta["original_affine"]).double()) @ image.affine
        record = {
            "case": case,
            "file": str(image.meta["filename_or_obj"]),
            "canvas_to_file": to_file.numpy().round(9).tolist(),
            "inverted": image.meta["inverted"],
            "landmarks": np.asarray(points).round(3).tolist(),
        }
        write_json(folder / f"{case}_canvas.json", record)
        matrix = overview_matrix(tuple(pixels.shape[1:]), tuple(size))
        view = Deformation(matrix[:2].float(), None, tuple(size)).apply(pixels)[0]
        in_view = transform_points(points, torch.linalg.inv(matrix))
        heatmaps = gaussian_heatmaps(in_view[None] / stride, tuple(extent // stride for extent in size), sigma)[0]
        save_picture(heatmap_picture(view, heatmaps), folder / f"{case}_heatmaps.png")

    process_cases(dataset, "preprocess", write)
