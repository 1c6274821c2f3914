"""Randomness of a training as a function of (seed, epoch, sample), so that it can be resumed exactly.

States of generators would have to be saved for each process and worker. Instead every epoch and every sample starts
from a seed of its own: neither the number of workers nor the epochs before have an influence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import CacheDataset, DistributedSampler
from monai.transforms import Randomizable

from ..engines.parallel import rank, world_size


def mix_seed(*numbers: int) -> int:
    """A seed (32 bits) that depends on all numbers (non-negative) and their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class EpochSampler(DistributedSampler):
    """Order of the samples of each epoch, the share of this process; tells the data set the epoch with each index.

    Worker processes hold copies of the data set that know nothing of the epoch, so the sampler hands
    ``(epoch, index)`` over. MONAI's engines set the epoch.

    Args:
        dataset: a :class:`SeededDataset`.
        shuffle: whether the order is random.
        seed: of the order.
        even_divisible: repeat some samples, so that all processes have equally many (training); without it no sample
            is seen twice (validation).
    """

    def __init__(
        self, dataset: torch.utils.data.Dataset, shuffle: bool = True, seed: int = 0, even_divisible: bool = True
    ) -> None:
        super().__init__(
            dataset,
            even_divisible=even_divisible,
            num_replicas=world_size(),
            rank=rank(),
            shuffle=shuffle,
            seed=seed,
        )

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in super().__iter__())


class SeededDataset(CacheDataset):
    """MONAI's cached data set whose random transforms start from (seed, epoch, index).

    Transforms have to draw from their own ``self.R``, as MONAI's do. What comes before the first random one is done
    once and kept in memory.

    Args:
        data: items.
        transform: applied to each.
        seed: of the training.
        cache_rate: fraction of the items that is kept in memory.
    """

    def __init__(
        self, data: Sequence[Any], transform: Callable | Sequence[Callable], seed: int = 0, cache_rate: float = 1.0
    ) -> None:
        super().__init__(data, transform, cache_rate=cache_rate, progress=rank() == 0)
        self.seed = seed

    def __getitem__(self, index: Any) -> Any:
        """The sample of ``(epoch, index)``, or of an index in epoch 0."""
        epoch, index = index if isinstance(index, tuple) else (0, index)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=mix_seed(self.seed, epoch, index))
        return super().__getitem__(index)


class EpochSeed:
    """Handler of a trainer that seeds Python, NumPy and PyTorch at the start of every epoch, each process differently.

    What is random outside the data set (dropout) then depends on seed and epoch alone.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        seed = mix_seed(self.seed, engine.state.epoch, rank())
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
