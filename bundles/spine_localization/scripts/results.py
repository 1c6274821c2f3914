"""What is reported about the spine of a CT: its box and centroid as JSON, a label map, a picture."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from PIL import Image, ImageDraw

from .shared.geometry.frames import plain_tensor
from .shared.geometry.grids import to_grid, volume_affine
from .shared.geometry.volume_box import file_name
from .shared.io.intake import with_facts
from .shared.io.json_files import write_json
from .shared.pictures.files import save_picture
from .shared.pictures.volume_preview import BONE_WINDOW, to_grey
from .shared.spine.balls import ball_map
from .shared.spine.box_sampling import covered_box, sample_box
from .shared.spine.case_keys import ORIGINAL, case_name
from .shared.spine.crops import sample_grid
from .shared.spine.ct_check import ct_warnings
from .shared.spine.result_json import region_result
from .shared.spine.spine_picture import join
from .shared.spine.spine_stage import SpineRegion, check_spine, near_midline, spine_region

SPINE, CENTROID = 1, 2  # labels of the map
PREVIEW_MM = 2.0
CENTROID_BALL_MM = 10.0


def spine_map(heatmap: MetaTensor, region: SpineRegion, volume: MetaTensor, threshold: float) -> MetaTensor:
    """Label map (1, X, Y, Z) uint8 on the grid of the CT: 1 where the spine is, 2 a ball at its centroid.

    Args:
        heatmap: (1, x, y, z) with its affine.
        region: of the spine; nothing outside of its box is marked.
        volume: the CT.
        threshold: of the heatmap, as a fraction of its peak.
    """
    affine = volume_affine(volume)
    labels = ball_map({CENTROID: region.centroid_mm}, volume, CENTROID_BALL_MM)
    box = covered_box(region.low_mm, region.high_mm, np.linalg.inv(affine), volume.shape[1:])
    if box is not None:
        to_heatmap = np.linalg.inv(volume_affine(heatmap)) @ affine
        inside = sample_box(heatmap.as_tensor()[0].float(), to_heatmap, box) > threshold * region.peak
        part = labels.as_tensor()[0][box]
        part[inside & (part == 0)] = SPINE
    return labels


def region_picture(volume: MetaTensor, heatmap: MetaTensor, region: SpineRegion, title: str) -> Image.Image:
    """Coronal and sagittal plane through the centroid with heatmap (red), box and centroid."""
    working = to_grid(volume, PREVIEW_MM)
    affine = volume_affine(working)
    warm = sample_grid(heatmap, affine, working.shape[1:], 0.0)[0].numpy() / max(region.peak, 1e-6)
    grey = to_grey(working.as_tensor()[0].numpy(), BONE_WINDOW)
    centre = (region.centroid_mm - affine[:3, 3]) / PREVIEW_MM
    low, high = ((corner - affine[:3, 3]) / PREVIEW_MM for corner in (region.low_mm, region.high_mm))
    panels = []
    for across, through in ((0, 1), (1, 0)):
        index = int(np.clip(round(float(centre[through])), 0, grey.shape[through] - 1))
        plane, heat = (np.take(array, index, axis=through).T[::-1].astype(float) for array in (grey, warm))
        if across == 0:
            plane, heat = plane[:, ::-1], heat[:, ::-1]  # the patient's left at the right of the picture
        share = 0.6 * np.clip(heat, 0, 1)[..., None]
        colour = (1 - share) * plane[..., None] + share * np.array([255.0, 70.0, 0.0])
        width, height = plane.shape[1], plane.shape[0]
        scale = float(np.clip(700 / max(width, height), 1.0, 4.0))
        panel = Image.fromarray(colour.astype(np.uint8)).resize((round(width * scale), round(height * scale)))

        def place(point: np.ndarray, across: int = across, width: int = width, height: int = height) -> tuple:
            column = width - 1 - point[across] if across == 0 else point[across]
            return float((column + 0.5) * scale), float((height - 0.5 - point[2]) * scale)  # noqa: B023

        draw = ImageDraw.Draw(panel)
        ends = np.array([place(low), place(high)])
        draw.rectangle([*ends.min(axis=0), *ends.max(axis=0)], outline=(255, 210, 0), width=2)
        x, y = place(centre)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=(0, 200, 255), outline=(0, 0, 0))
        for letter, edge in zip(("R", "L") if across == 0 else ("P", "A"), (3, panel.width - 12), strict=True):
            draw.text((edge, panel.height // 2), letter, fill=(120, 200, 255))
        panels.append(panel)
    return join(panels, title)


class SpineResultd(MapTransform):
    """Turn the heatmap into the result of the case and a label map on the grid of the CT.

    Args:
        keys: the heatmap (1, x, y, z).
        image_key: its input, whose affine it has.
        output_dir: where ``<case>_spine_centroid.json`` and ``<case>_spine.png`` go; nothing is written where None.
        threshold: of the region, as a fraction of the peak.
        min_peak: lowest peak of a spine.

    Raises:
        CaseError: when there is no spine.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        output_dir: str | os.PathLike | None = None,
        threshold: float = 0.3,
        min_peak: float = 0.25,
    ) -> None:
        super().__init__(keys)
        self.image_key, self.threshold, self.min_peak = image_key, threshold, min_peak
        self.output_dir = None if output_dir is None else Path(str(output_dir))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        volume = output[ORIGINAL]
        for key in self.key_iterator(output):
            values = plain_tensor(output[key]).detach().float().cpu()
            image = output[self.image_key]
            heatmap = near_midline(MetaTensor(values, affine=torch.as_tensor(volume_affine(image))), image)
            region = spine_region(heatmap, self.threshold)
            check_spine(region, file_name(volume), self.min_peak)
            result = with_facts(region_result(case_name(output), region) | {"warnings": ct_warnings(volume)}, volume)
            result["labels"] = {"spine": SPINE, "centroid": CENTROID}
            if self.output_dir is not None and "case" in output:  # a server of labels has no cases
                write_json(self.output_dir / f"{result['case']}_spine_centroid.json", result)
                picture = region_picture(volume, heatmap, region, f"{result['case']}: spine {region.peak:.2f}")
                save_picture(picture, self.output_dir / f"{result['case']}_spine.png")
            output["result"] = result
            output[key] = spine_map(heatmap, region, volume, self.threshold)
        return output
