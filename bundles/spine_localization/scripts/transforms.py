"""A CT as input of the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from .shared.spine.case_keys import ORIGINAL
from .shared.spine.hu_window import HU_WINDOW
from .shared.spine.spine_stage import spine_input


class SpineInputd(MapTransform):
    """A CT as input of the first stage; the arguments are those of :func:`~shared.spine.spine_stage.spine_input`."""

    def __init__(
        self,
        keys: KeysCollection = "image",
        spacing_mm: float = 8.0,
        smoothing_sigma: float = 0.75,
        hu_window: Sequence[float] = HU_WINDOW,
    ) -> None:
        super().__init__(keys)
        self.spacing_mm, self.smoothing_sigma, self.hu_window = spacing_mm, smoothing_sigma, hu_window

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            volume = output[ORIGINAL] = output[key]
            output[key] = spine_input(volume, self.spacing_mm, self.smoothing_sigma, self.hu_window)
        return output
