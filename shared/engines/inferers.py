"""Running a network in reduced precision where that is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import Tensor

from .settings import flag


class AutocastInferer(SimpleInferer):
    """One forward pass, in bfloat16 where the operations allow it.

    MONAI's engines autocast on CUDA alone and to float16; this one works on any device.

    Args:
        amp: whether to reduce the precision.

    The input is (B, C, *spatial); the output of the network comes back as float32.
    """

    def __init__(self, amp: bool = True) -> None:
        super().__init__()
        self.amp = flag("amp", amp)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            output = super().__call__(inputs, network, *args, **kwargs)
        return output.float()
