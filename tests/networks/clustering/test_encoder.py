"""The feature pyramid stays in place."""

from __future__ import annotations

import pytest
import torch

from shared.networks.clustering.encoder import XrayEncoder


def test_levels_have_the_sizes_that_lifting_expects() -> None:
    maps = XrayEncoder((4, 8, 16))(torch.rand(2, 1, 16, 24))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6)]
    coarse = XrayEncoder((4, 8, 16), finest=1)(torch.rand(2, 1, 16, 24))
    assert [tuple(m.shape) for m in coarse] == [(2, 8, 8, 12), (2, 16, 4, 6)]


def test_a_mirrored_image_has_mirrored_features() -> None:
    """With mirrored kernels. A shift of half a pixel at any level would break this."""
    torch.manual_seed(0)
    encoder = XrayEncoder((4, 8))
    image = torch.rand(1, 1, 8, 12)
    maps = encoder(image)
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight.flip(-1))
    mirrored = encoder(image.flip(-1))
    for before, after in zip(maps, mirrored, strict=True):
        assert torch.allclose(before, after.flip(-1), atol=1e-5)


def test_fine_features_know_the_whole_image() -> None:
    encoder = XrayEncoder((4, 8)).eval()
    image = torch.rand(1, 1, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(image)[0][0, :, 0, 0].sum(), image)
    assert bool(gradient.all())


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        XrayEncoder((4, 8, 16))(torch.rand(1, 1, 16, 18))
