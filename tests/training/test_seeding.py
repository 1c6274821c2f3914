"""Randomness depends on seed, epoch and sample alone."""

from __future__ import annotations

import torch
from monai.data import DataLoader
from monai.transforms import Compose, OneOf, RandGaussianNoised, RandShiftIntensityd

from shared.training.seeding import EpochSampler, SeededDataset, mix_seed


def make_dataset(seed: int = 0, count: int = 7) -> SeededDataset:
    transform = Compose(
        [
            OneOf([RandGaussianNoised("image", prob=1.0), RandShiftIntensityd("image", 0.5, prob=1.0)]),
            RandGaussianNoised("image", prob=1.0),
        ]
    )
    return SeededDataset([{"image": torch.zeros(1, 3), "index": i} for i in range(count)], transform, seed)


def epoch_of(dataset: SeededDataset, epoch: int, num_workers: int = 0, **kwargs) -> dict[int, torch.Tensor]:
    sampler = EpochSampler(dataset, seed=1, **kwargs)
    sampler.set_epoch(epoch)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=num_workers)
    return {int(i): image for batch in loader for i, image in zip(batch["index"], batch["image"], strict=True)}


def test_samples_depend_on_seed_epoch_and_index():
    dataset = make_dataset()
    values = [dataset[key]["image"] for key in ((1, 0), (1, 1), (2, 0))] + [make_dataset(1)[1, 0]["image"]]
    assert all(not torch.equal(a, b) for i, a in enumerate(values) for b in values[:i])
    assert torch.equal(make_dataset()[1, 0]["image"], values[0])
    assert torch.equal(dataset[0]["image"], dataset[0, 0]["image"])


def test_workers_and_history_do_not_matter():
    expected = epoch_of(make_dataset(), 2)
    dataset = make_dataset()
    epoch_of(dataset, 1)
    for found in (epoch_of(dataset, 2), epoch_of(make_dataset(), 2, num_workers=2)):
        assert list(found) == list(expected)  # the order too
        assert all(torch.equal(found[i], expected[i]) for i in expected)


def test_the_order_changes_from_epoch_to_epoch_and_holds_each_sample_once():
    dataset = make_dataset(count=20)
    orders = [list(epoch_of(dataset, epoch)) for epoch in (1, 2)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert list(epoch_of(dataset, 1, shuffle=False)) == list(range(20))


def test_seeds_do_not_collide():
    seeds = {mix_seed(0, epoch, index) for epoch in range(100) for index in range(100)}
    assert len(seeds) > 9990  # 32 bits: a few of 10^4 may coincide
    assert mix_seed(1, 2) != mix_seed(2, 1)
