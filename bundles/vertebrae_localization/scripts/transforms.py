"""A CT as input of the network, around the spine that the first stage finds in it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from .shared.spine.case_keys import ORIGINAL, case_name
from .shared.spine.hu_window import HU_WINDOW
from .shared.spine.result_json import region_result
from .shared.spine.spine_stage import SpineStage
from .shared.spine.vertebra_stage import spine_crop


class SpineCropd(MapTransform):
    """A CT as input of the second stage, around the spine that the first stage finds in it.

    Args:
        keys: the CT.
        spine_stage: the first stage.
        spacing_mm, least, hu_window: as :func:`~shared.spine.vertebra_stage.spine_crop` takes them.

    Adds the region of the spine as JSON text under "spine".

    Raises:
        CaseError: for a CT that shows no spine.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spine_stage: SpineStage,
        spacing_mm: float = 2.0,
        least: Sequence[int] = (80, 96),
        hu_window: Sequence[float] = HU_WINDOW,
    ) -> None:
        super().__init__(keys)
        self.spine_stage, self.spacing_mm, self.least, self.hu_window = spine_stage, spacing_mm, least, hu_window

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            volume = output[ORIGINAL] = output[key]
            region, _ = self.spine_stage(volume)
            output["spine"] = json.dumps(region_result(case_name(output), region))
            output[key] = spine_crop(volume, region, self.spacing_mm, self.least, self.hu_window)
        return output
