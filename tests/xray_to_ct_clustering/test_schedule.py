"""The learning rate of a training that is resumed."""

from __future__ import annotations

import pytest
import torch

from bundles.xray_to_ct_clustering.scripts.schedule import OneCycle


def make(steps: int) -> tuple[torch.optim.Optimizer, OneCycle]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return optimizer, OneCycle(optimizer, max_lr=0.1, total_steps=steps, pct_start=0.3, cycle_momentum=False)


def rates(optimizer: torch.optim.Optimizer, schedule: OneCycle, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        found.append(schedule.get_last_lr()[0])
    return found


def resumed(first: int, second: int, done: int) -> list[float]:
    """Rates of a run of ``second`` steps that goes on from ``done`` steps of one of ``first``."""
    optimizer, schedule = make(first)
    rates(optimizer, schedule, done)
    again, other = make(second)
    other.load_state_dict(schedule.state_dict())
    again.load_state_dict(optimizer.state_dict())
    return rates(again, other, second - done - 1)


def test_the_same_run_goes_on_as_if_unbroken():
    assert resumed(20, 20, 7) == rates(*make(20), 19)[7:]


def test_a_longer_run_goes_on_to_its_own_end():
    assert resumed(9, 20, 8) == pytest.approx(rates(*make(20), 19)[8:])
