"""Reduced precision."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

from shared.engines.inferers import AutocastInferer


def test_amp_runs_in_bfloat16_and_returns_float32():
    network = torch.nn.Conv2d(1, 3, 3)
    seen = []
    network.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    image = MetaTensor(torch.rand(1, 1, 8, 8))
    reduced, exact = (AutocastInferer(amp)(image, network) for amp in (True, False))
    assert seen == [torch.bfloat16, torch.float32]
    assert reduced.dtype == exact.dtype == torch.float32
    assert 0 < (reduced - exact).abs().max() < 0.05
