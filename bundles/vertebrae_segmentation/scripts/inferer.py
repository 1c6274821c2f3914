"""Running the network on the crops of all vertebrae of a CT."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from .shared.engines.patches import Network, run_network
from .shared.engines.settings import flag
from .shared.geometry.frames import plain_tensor

LEFT_RIGHT = 2  # axis of the crops (N, 2, x, y, z), which lie along the patient's axes


class CropInferer(Inferer):
    """Runs the network on the crops of all vertebrae of a CT.

    Args:
        batch_size: crops per pass.
        amp: whether to reduce the precision.
        mirror: whether to average the logits of each crop and of the crop with left and right exchanged: a vertebra
            is symmetric, and the training shows both. It doubles the time.

    The input is (1, N, 2, x, y, z), the output the logits (1, N, x, y, z) on the device of the network.
    """

    def __init__(self, batch_size: int = 1, amp: bool = True, mirror: bool = False) -> None:
        super().__init__()
        self.batch_size, self.amp, self.mirror = batch_size, flag("amp", amp), flag("mirror", mirror)

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        crops = plain_tensor(inputs)[0]
        logits = []
        for part in crops.split(self.batch_size):
            found = run_network(network, part, self.amp)[:, 0]
            if self.mirror:
                found = (found + run_network(network, part.flip(LEFT_RIGHT), self.amp)[:, 0].flip(LEFT_RIGHT - 1)) / 2
            logits.append(found)
        return torch.cat(logits)[None]
