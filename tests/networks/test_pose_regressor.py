"""The pose regressor: shapes, a neutral start, TorchScript."""

from __future__ import annotations

import torch

from shared.networks.pose_regressor import PoseRegressor


def small() -> PoseRegressor:
    return PoseRegressor(channels=(8, 16), grid=2, hidden=16, groups=4)


def test_an_untrained_network_answers_with_the_middle() -> None:
    assert torch.equal(small()(torch.rand(3, 1, 32, 32)), torch.zeros(3, 6))


def test_both_heads_learn() -> None:
    network = small()
    loss = ((network(torch.rand(2, 1, 32, 32)) - 1) ** 2).sum()
    loss.backward()
    for head in (network.rotation, network.translation):
        assert float(head.weight.grad.abs().sum()) > 0


def test_script_equals_eager() -> None:
    network = small().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    image = torch.rand(1, 1, 48, 48)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))
