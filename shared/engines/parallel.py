"""Work shared by the processes of a torchrun: who am I, what did the others find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether this process belongs to an initialised process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, 0 when it is alone."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes, 1 when this one is alone."""
    return dist.get_world_size() if is_distributed() else 1


def gather(items: Sequence[T]) -> list[T]:
    """Items of all processes, those of process 0 first; every process has to call it and gets the same list.

    Items are pickled, so processes may hold different numbers of them, also none, which tensor gathering cannot do.
    """
    if world_size() == 1:
        return list(items)
    parts: list[list[T]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, list(items))
    return [item for part in parts for item in part]


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world_size() > 1:
        dist.barrier()
