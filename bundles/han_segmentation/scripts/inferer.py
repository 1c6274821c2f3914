"""Running the network over a whole working grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from .shared.settings import flag


class HanInferer(SlidingWindowInferer):
    """Sliding windows that overlap, weighted towards their middle, in bfloat16 where operations allow it.

    Args:
        roi_size: of a window, the size that the network was trained with.
        overlap: share of a window.
        amp: whether to reduce the precision.
        background_bias: added to the logit of the background. A loss that counts small organs more makes a network
            draw them too large; this takes the weight back (Menon et al., Long-tail learning via logit adjustment,
            2021). It is found on training cases.

    Input (B, C, X, Y, Z) of any size, output (B, K, X, Y, Z) float32.
    """

    def __init__(
        self,
        roi_size: Sequence[int] = (64, 64, 48),
        overlap: float = 0.25,
        amp: bool = True,
        background_bias: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(roi_size, overlap=overlap, mode="gaussian", sigma_scale=0.2, **settings)
        self.amp, self.background_bias = flag("amp", amp), float(background_bias)

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        layout = torch.channels_last_3d

        def one(window: Tensor, *rest: Any, **more: Any) -> Tensor:
            with torch.autocast(window.device.type, dtype=torch.bfloat16, enabled=self.amp):
                return network(window.contiguous(memory_format=layout), *rest, **more).float()

        plain = torch.as_tensor(inputs).as_subclass(Tensor)
        logits = torch.as_tensor(super().__call__(plain, one, *args, **kwargs)).float()
        logits[:, 0] += self.background_bias
        return logits
