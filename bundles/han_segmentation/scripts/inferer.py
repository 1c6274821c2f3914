"""Running the network over a whole working grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from .organs import OrganTable, drawn_numbers
from .shared.engines.settings import flag
from .shared.geometry.frames import plain_tensor

LEFT_RIGHT = 2  # axis of (B, C, X, Y, Z)


class HanInferer(SlidingWindowInferer):
    """Sliding windows that overlap, weighted towards their middle, in bfloat16 where operations allow it.

    Args:
        table: all organs.
        roi_size: of a window, the size that the network was trained with.
        overlap: share of a window.
        amp: whether to reduce the precision.
        background_bias: added to the logit of the background (Menon et al., Long-tail learning via logit adjustment,
            2021): positive where a network draws organs too large, as after a loss that counts small ones more,
            negative where it draws them too small. It is found on training cases.
        mirror: whether to average the logits of the head and of its mirror image, in which the labels of paired
            organs change places. It doubles the time.
        organs: names of the organs that the network draws, its channels in the order of the table; all where empty.
            The others get a logit of minus infinity.

    Input (B, C, X, Y, Z) of any size with x along the patient's left-right axis, output (B, K, X, Y, Z) float32, K
    organs of the table and the background.
    """

    def __init__(
        self,
        table: OrganTable,
        roi_size: Sequence[int] = (64, 64, 48),
        overlap: float = 0.25,
        amp: bool = True,
        background_bias: float = 0.0,
        mirror: bool = False,
        organs: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(roi_size, overlap=overlap, mode="gaussian", sigma_scale=0.2, **settings)
        self.amp, self.background_bias = flag("amp", amp), float(background_bias)
        self.mirror = flag("mirror", mirror)
        self.classes, self.organs = len(table) + 1, drawn_numbers(table, organs, "--drawn_organs")
        self.exchanged = torch.from_numpy(table.mirrored_numbers().astype(np.int64))

    def all_organs(self, logits: Tensor) -> Tensor:
        """Logits (B, K, *spatial) from those that the network has a channel for."""
        if len(self.organs) + 1 == self.classes:
            return logits
        result = logits.new_full((logits.shape[0], self.classes, *logits.shape[2:]), -torch.inf)
        result[:, [0, *self.organs]] = logits
        return result

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        layout = torch.channels_last_3d

        def one(window: Tensor, *rest: Any, **more: Any) -> Tensor:
            with torch.autocast(window.device.type, dtype=torch.bfloat16, enabled=self.amp):
                return network(window.contiguous(memory_format=layout), *rest, **more).float()

        plain = plain_tensor(inputs)
        logits = self.all_organs(torch.as_tensor(super().__call__(plain, one, *args, **kwargs)).float())
        if self.mirror:
            flipped = plain.flip(LEFT_RIGHT)
            other = self.all_organs(torch.as_tensor(super().__call__(flipped, one, *args, **kwargs)).float())
            logits = (logits + other.flip(LEFT_RIGHT)[:, self.exchanged.to(other.device)]) / 2
        logits[:, 0] += self.background_bias
        return logits
