"""Networks of the head and neck: shapes, attention that adds up, MR that counts only where it was seen."""

from __future__ import annotations

import pytest
import torch

from shared.networks.han import HanTransformer, SelfAttention, TransformerSegmentation


def small_vit() -> TransformerSegmentation:
    torch.manual_seed(0)
    return TransformerSegmentation(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=5).eval()


def small_han(**settings) -> HanTransformer:
    torch.manual_seed(0)
    sizes = {"ct_channels": 2, "num_classes": 5, "widths": (4, 8, 12), "depth": 2, "num_heads": 2}
    return HanTransformer(**{**sizes, **settings}).eval()


def test_published_size_of_the_transformer():
    network = TransformerSegmentation()
    assert len(network.layers) == 8 and network.position.shape == (1, 196, 512)
    with torch.no_grad():
        assert network(torch.zeros(1, 2, 224, 224)).shape == (1, 30, 224, 224)


def test_attention_equals_its_definition():
    torch.manual_seed(1)
    attention = SelfAttention(12, 3).eval()
    x = torch.randn(2, 7, 12)
    weights = attention.weights(x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 7))
    mixed = (weights @ attention.split(x)[2]).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x), attention.project(mixed))


def test_attention_maps_of_every_layer():
    with torch.no_grad():
        maps = small_vit().attention_maps(torch.randn(1, 2, 32, 32))
        assert [tuple(m.shape) for m in maps] == [(1, 4, 16, 16)] * 2
        maps = small_han().attention_maps(torch.randn(1, 4, 16, 16, 24))
    assert [tuple(m.shape) for m in maps] == [(1, 2, 96, 96)] * 2


def test_patches_keep_their_place():
    network = small_vit()
    image = torch.zeros(1, 2, 32, 32)
    image[:, :, 8:16, 24:32] = 1.0  # second row, fourth column of 4 x 4 patches
    changed = (network.tokens(image) - network.tokens(torch.zeros_like(image))).abs().sum(-1)[0]
    assert changed.nonzero().flatten().tolist() == [7]


def test_mr_outside_its_field_of_view_has_no_influence():
    network = small_han()
    x = torch.randn(1, 4, 16, 16, 16)
    x[:, 3] = 0.0
    other = x.clone()
    other[:, 2] = 100.0
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(other))
        x[:, 3] = other[:, 3] = 1.0
        assert not torch.allclose(network(x), network(other))


def test_hidden_mr_in_training_equals_ct_alone():
    network = small_han(modality_dropout=1.0)
    x = torch.randn(2, 4, 16, 16, 16)
    x[:, 3] = 1.0
    alone = x.clone()
    alone[:, 2:] = 0.0
    with torch.no_grad():
        hidden = network.train()(x)
        torch.testing.assert_close(hidden, network.eval()(alone))
        assert not torch.allclose(network(x), network(alone))


def test_every_parameter_learns():
    network = small_han(modality_dropout=0.0).train()
    x = torch.randn(1, 4, 16, 16, 16)
    x[:, 3] = 1.0
    network(x).square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a bias before an instance normalisation has no effect
    assert all(name.endswith("bias") for name in still), still


def test_any_size_that_fits_and_ct_alone_network():
    network = small_han(mr_channels=0)
    with torch.no_grad():
        assert network(torch.zeros(1, 2, 16, 4, 24)).shape == (1, 5, 16, 4, 24)
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(1, 2, 10, 8, 8))
    with pytest.raises(ValueError, match="field-of-view"):
        HanTransformer(mr_channels=1)
    with pytest.raises(ValueError, match="32 x 32"):
        small_vit()(torch.zeros(1, 2, 32, 40))
    with pytest.raises(ValueError, match="power of two"):
        TransformerSegmentation(img_size=36, patch_size=12)


@pytest.mark.parametrize("network, shape", [(small_vit, (1, 2, 32, 32)), (small_han, (1, 4, 16, 16, 16))])
def test_scripted_network_is_the_same(network, shape):
    eager, x = network(), torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(eager)(x), eager(x), atol=1e-5, rtol=1e-4)
