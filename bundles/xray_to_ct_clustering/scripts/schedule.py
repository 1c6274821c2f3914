"""The learning rate over a training."""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import OneCycleLR

EXTENT = ("total_steps", "_schedule_phases")  # of the state of OneCycleLR


class OneCycle(OneCycleLR):
    """One cycle as long as this run, also where it goes on from the checkpoint of a shorter one.

    PyTorch's takes its length from the checkpoint and refuses every step beyond.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name not in EXTENT})
