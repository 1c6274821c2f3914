"""Transforms of dictionaries with which the stages become the preprocessing of bundles.

What is read stays under "original", without a copy; "image" becomes the input of the bundle's network. What is found on
the way, the spine's region and the labelled vertebrae, travels as JSON text, which data loaders can collate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..engines.settings import flag
from .ct_check import check_ct
from .documents import given_document, labelling_document, points_of, spine_document
from .given_landmarks import given_points
from .intermediates import save_heatmap, save_vertebra_heatmaps
from .stage1 import SpineStage, spine_input
from .stage2 import VertebraStage, spine_crop
from .stage3 import vertebra_inputs

ORIGINAL = "original"


def case_name(data: Mapping[Hashable, Any]) -> str:
    """Name of the case in a dictionary."""
    return str(data.get("case", "case"))


class SpineInputd(MapTransform):
    """A CT as input of the first stage; the arguments are those of :func:`~shared.spine.stage1.spine_input`.

    Raises:
        CaseError: for what is no CT.
    """

    def __init__(self, keys: KeysCollection = "image", spacing_mm: float = 8.0, smoothing_sigma: float = 0.75) -> None:
        super().__init__(keys)
        self.spacing_mm, self.smoothing_sigma = spacing_mm, smoothing_sigma

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            volume = output[ORIGINAL] = output[key]
            check_ct(volume)
            output[key] = spine_input(volume, self.spacing_mm, self.smoothing_sigma)
        return output


class SpineCropd(MapTransform):
    """A CT as input of the second stage, around the spine that the first stage finds in it.

    Args:
        keys: the CT.
        spine_stage: the first stage.
        spacing_mm, least: as :func:`~shared.spine.stage2.spine_crop` takes them.

    Adds the region of the spine as JSON text under "spine".

    Raises:
        CaseError: for what is no CT, or shows no spine.
    """

    def __init__(
        self, keys: KeysCollection, spine_stage: SpineStage, spacing_mm: float = 2.0, least: Sequence[int] = (80, 96)
    ) -> None:
        super().__init__(keys)
        self.spine_stage, self.spacing_mm, self.least = spine_stage, spacing_mm, least

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            volume = output[ORIGINAL] = output[key]
            check_ct(volume)
            region, _ = self.spine_stage(volume)
            output["spine"] = json.dumps(spine_document(case_name(output), region))
            output[key] = spine_crop(volume, region, self.spacing_mm, self.least)
        return output


class VertebraCropsd(MapTransform):
    """A CT as input of the third stage: one crop per vertebra that the first two stages find, or that is given.

    Args:
        keys: the CT.
        spine_stage: the first stage.
        vertebra_stage: the second stage.
        landmarks: file or folder of body centres, which replace the first two stages.
        size, spacing_mm, sigma_mm: as :func:`~shared.spine.stage3.vertebra_inputs` takes them.
        output_dir: heatmaps go to ``intermediates/<case>`` in it; nowhere where None.
        save_intermediates: whether they are saved.

    The crops (N, 2, x, y, z) take the place of the CT. Adds "crop_affines" (N, 4, 4) and, as JSON text, "spine" (empty
    where landmarks are given) and "labelling".

    Raises:
        CaseError: for what is no CT, shows no spine or no vertebra that can be labelled.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spine_stage: SpineStage,
        vertebra_stage: VertebraStage,
        landmarks: str | os.PathLike | None = None,
        size: Sequence[int] = (128, 128, 96),
        spacing_mm: float = 1.0,
        sigma_mm: float = 5.0,
        output_dir: str | os.PathLike | None = None,
        save_intermediates: bool = False,
    ) -> None:
        super().__init__(keys)
        self.spine_stage, self.vertebra_stage, self.landmarks = spine_stage, vertebra_stage, landmarks
        self.size, self.spacing_mm, self.sigma_mm = size, spacing_mm, sigma_mm
        wanted = flag("save_intermediates", save_intermediates) and output_dir is not None
        self.folder = Path(str(output_dir)) / "intermediates" if wanted else None

    def find(self, volume: MetaTensor, case: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Documents of the spine (empty for given landmarks) and of its vertebrae."""
        if self.landmarks is not None:
            return {}, given_document(case, given_points(self.landmarks, case, volume))
        region, spine = self.spine_stage(volume)
        labelling, heatmaps = self.vertebra_stage(volume, region)
        if self.folder is not None:
            save_heatmap(spine, self.folder / case / "spine_heatmap.nii.gz")
            save_vertebra_heatmaps(heatmaps, labelling.points, self.folder / case)
        return spine_document(case, region), labelling_document(case, labelling)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            volume = output[ORIGINAL] = output[key]
            check_ct(volume)
            spine, labelling = self.find(volume, case_name(output))
            points = points_of(labelling)
            crops, affines = vertebra_inputs(volume, list(points.values()), self.size, self.spacing_mm, self.sigma_mm)
            output[key] = torch.as_tensor(crops)
            output |= {"crop_affines": affines, "spine": json.dumps(spine), "labelling": json.dumps(labelling)}
        return output
