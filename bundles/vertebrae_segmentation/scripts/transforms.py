"""A CT as input of the network: one crop per vertebra."""

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

from .given_landmarks import given_points, given_result
from .shared.engines.settings import flag
from .shared.spine.case_keys import ORIGINAL, case_name
from .shared.spine.heatmap_files import save_heatmap, save_vertebra_heatmaps
from .shared.spine.hu_window import HU_WINDOW
from .shared.spine.labelling_json import labelling_result
from .shared.spine.result_json import points_of, region_result
from .shared.spine.spine_stage import SpineStage
from .shared.spine.vertebra_stage import VertebraStage
from .vertebra_crops import vertebra_inputs


class VertebraCropsd(MapTransform):
    """A CT as input of the third stage: one crop per vertebra that the first two stages find, or that is given.

    Args:
        keys: the CT.
        spine_stage: the first stage.
        vertebra_stage: the second stage.
        landmarks: file or folder of body centres, which replace the first two stages.
        size, spacing_mm, sigma_mm, hu_window: as :func:`~shared.spine.stage3.vertebra_inputs` takes them.
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
        hu_window: Sequence[float] = HU_WINDOW,
    ) -> None:
        super().__init__(keys)
        self.spine_stage, self.vertebra_stage, self.landmarks = spine_stage, vertebra_stage, landmarks
        self.size, self.spacing_mm, self.sigma_mm, self.hu_window = size, spacing_mm, sigma_mm, hu_window
        wanted = flag("save_intermediates", save_intermediates) and output_dir is not None
        self.folder = Path(str(output_dir)) / "intermediates" if wanted else None

    def find(self, volume: MetaTensor, case: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Documents of the spine (empty for given landmarks) and of its vertebrae."""
        if self.landmarks is not None:
            return {}, given_result(case, given_points(self.landmarks, case, volume))
        region, spine = self.spine_stage(volume)
        labelling, heatmaps = self.vertebra_stage(volume, region)
        if self.folder is not None:
            save_heatmap(spine, self.folder / case / "spine_heatmap.nii.gz")
            save_vertebra_heatmaps(heatmaps, labelling.points, self.folder / case)
        return region_result(case, region), labelling_result(case, labelling)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            volume = output[ORIGINAL] = output[key]
            spine, labelling = self.find(volume, case_name(output))
            points = points_of(labelling)
            crops, affines = vertebra_inputs(
                volume, list(points.values()), self.size, self.spacing_mm, self.sigma_mm, self.hu_window
            )
            output[key] = torch.as_tensor(crops)
            output |= {"crop_affines": affines, "spine": json.dumps(spine), "labelling": json.dumps(labelling)}
        return output
