"""Running a network on patches: sizes that it can take, tiles along one axis, reduced precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Network = Callable[[Tensor], Tensor]


def network_device(network: Network) -> torch.device:
    """Where the weights of a network are; the CPU for anything without weights."""
    first = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def run_network(network: Network, inputs: Tensor, amp: bool) -> Tensor:
    """One forward pass (B, C, X, Y, Z) without gradients on the device of the network; float32 comes back.

    Args:
        network: its evaluation mode is up to the caller.
        inputs: on any device.
        amp: compute in bfloat16 where that is possible.
    """
    device = network_device(network)
    inputs = inputs.to(device).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp):
        output = network(inputs)
    return output.float()


def pad_to_multiple(values: Tensor, multiple: int, value: float) -> Tensor:
    """(C, X, Y, Z) padded at the far ends to sizes that are multiples of a number; indices stay the same."""
    ends = [(-size) % multiple for size in values.shape[1:]]
    return F.pad(values, [0, ends[2], 0, ends[1], 0, ends[0]], value=value) if any(ends) else values


def tile_starts(size: int, tile: int, step: int) -> list[int]:
    """Starts of tiles that cover an axis: ``step`` apart, the last one flush with the end; one where it all fits."""
    if size <= tile:
        return [0]
    return [*range(0, size - tile, step), size - tile]
