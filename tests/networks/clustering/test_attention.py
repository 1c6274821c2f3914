"""Cluster-aware attention: the formula, without its matrix over all pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shared.networks.clustering import ClusterAwareAttention, cluster_attention, dense_cluster_attention


def tensors(voxels: int, clusters: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Query, key, value (1, 2, N, 8), assignments (1, N, K) and bias (2, K, K), with gradients."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    weights = (4 * normal(1, voxels, clusters)).softmax(-1)
    parts = [normal(1, 2, voxels, 8) for _ in range(3)] + [weights, 3 * normal(2, clusters, clusters)]
    return [part.requires_grad_() for part in parts]


@pytest.mark.parametrize("clusters", [3, 32])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_values_and_gradients_are_those_of_the_dense_formula(clusters, dtype, tolerance) -> None:
    inputs = tensors(50, clusters, dtype)
    outputs = [attend(*inputs) for attend in (cluster_attention, dense_cluster_attention)]
    torch.testing.assert_close(outputs[0], outputs[1], atol=tolerance, rtol=0)
    direction = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    gradients = [torch.autograd.grad(output, inputs, direction) for output in outputs]
    for name, folded, dense in zip("qkvwb", *gradients, strict=True):
        scale = max(1.0, float(dense.abs().max()))
        assert float((folded - dense).abs().max()) < tolerance * scale, name


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_a_bias_of_low_rank_equals_the_dense_formula_with_its_product(rank, dtype, tolerance) -> None:
    query, key, value, weights, _ = tensors(50, 20, dtype)
    generator = torch.Generator().manual_seed(2)
    factors = [torch.randn(2, 20, rank, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]
    inputs = [query, key, value, weights, *factors]
    folded = cluster_attention(query, key, value, weights, factors[0], factors[1])
    dense = dense_cluster_attention(query, key, value, weights, factors[0] @ factors[1].mT)
    torch.testing.assert_close(folded, dense, atol=tolerance, rtol=0)
    direction = torch.randn(folded.shape, generator=generator, dtype=dtype)
    for ours, reference in zip(*(torch.autograd.grad(out, inputs, direction) for out in (folded, dense)), strict=True):
        assert float((ours - reference).abs().max()) < tolerance * max(1.0, float(reference.abs().max()))


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def test_memory_is_linear_forward_and_backward() -> None:
    """No operation ever returns a tensor that grows with the square of the number of voxels."""
    sizes = []
    for voxels in (256, 1024):
        inputs = tensors(voxels, 4)
        with LargestTensor() as mode:
            cluster_attention(*inputs).sum().backward()
        sizes.append(mode.largest)
    assert sizes[1] <= 4 * sizes[0]
    assert sizes[1] < 1024**2 / 8


def test_voxels_of_one_cluster_attend_to_each_other_from_the_start() -> None:
    """With equal keys only the bias distinguishes: e times the weight for a voxel of the same cluster."""
    module = ClusterAwareAttention(8, 2, num_clusters=2)  # up to 8 clusters the rank is full
    weights = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    same, value = torch.zeros(1, 2, 3, 4), torch.eye(3, 4).expand(1, 2, 3, 4)
    attended = cluster_attention(same, same, value, weights, module.cluster_bias)
    e = float(torch.e)
    assert torch.allclose(attended[0, 0, 0, :3], torch.tensor([e, e, 1.0]) / (2 * e + 1), atol=1e-5)


def test_a_bias_of_low_rank_starts_with_the_same_preference() -> None:
    """sqrt(d) for two voxels of one cluster; between clusters less, and nothing on average."""
    torch.manual_seed(0)
    module = ClusterAwareAttention(32, 2, num_clusters=64, bias_rank=8)
    bias = module.bias_matrix() / 16**0.5
    same = torch.eye(64, dtype=torch.bool)
    assert module.cluster_bias.shape == (2, 64, 8)
    assert torch.allclose(bias[:, same], torch.ones(2, 64), atol=1e-5)
    assert float(bias[:, ~same].max()) < 0.99
    assert abs(float(bias[:, ~same].mean())) < 0.02
    assert ClusterAwareAttention(32, 2, num_clusters=64, bias_rank=0).bias_matrix().shape == (2, 64, 64)


def test_uniform_assignments_leave_plain_attention() -> None:
    query, key, value, weights, bias = tensors(20, 4)
    plain = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    uniform = torch.full_like(weights, 0.25)
    assert torch.allclose(cluster_attention(query, key, value, uniform, bias), plain, atol=1e-5)


@pytest.mark.parametrize("rank", [0, 2])
def test_every_parameter_learns_and_scripted_equals_eager(rank: int) -> None:
    torch.manual_seed(0)
    module = ClusterAwareAttention(8, 2, num_clusters=3, bias_rank=rank)
    tokens, weights = torch.randn(2, 10, 8), torch.rand(2, 10, 3).softmax(-1)
    output = module(tokens, weights)
    assert output.shape == tokens.shape
    assert torch.allclose(torch.jit.script(module)(tokens, weights), output, atol=1e-6)
    output.square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


@pytest.mark.parametrize("rank", [0, 2])
def test_exported_equals_eager(rank: int) -> None:
    module = ClusterAwareAttention(8, 2, num_clusters=3, bias_rank=rank).eval()
    inputs = torch.randn(2, 10, 8), torch.rand(2, 10, 3).softmax(-1)
    assert torch.allclose(torch.export.export(module, inputs).module()(*inputs), module(*inputs), atol=1e-6)


def test_hidden_keys_have_no_influence() -> None:
    query, key, value, weights, bias = tensors(6, 3)
    hidden = torch.zeros(1, 2, 6, 1)
    hidden[:, :, 4:] = -1e4
    kept = [key[:, :, :4], value[:, :, :4]]
    expected = (query @ kept[0].mT + weights[:, None] @ bias @ weights[:, :4].mT[:, None]) / 8**0.5
    attended = cluster_attention(query, key, value, weights, bias, key_bias=hidden)
    assert torch.allclose(attended, expected.softmax(-1) @ kept[1], atol=1e-5)
    everything = torch.full((1, 2, 6, 1), -1e4)  # the logits keep their differences, to the precision of 1e4
    assert torch.allclose(
        cluster_attention(query, key, value, weights, bias, key_bias=everything),
        cluster_attention(query, key, value, weights, bias),
        atol=1e-2,
    )


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    module = ClusterAwareAttention(8, 2, num_clusters=3, dropout=0.5)
    tokens, weights = torch.randn(1, 10, 8), torch.rand(1, 10, 3).softmax(-1)
    assert not torch.equal(module(tokens, weights), module(tokens, weights))
    module.eval()
    assert torch.equal(module(tokens, weights), module(tokens, weights))


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        ClusterAwareAttention(10, 4)
    with pytest.raises(ValueError, match="full rank"):
        ClusterAwareAttention(8, 2, bias_rank=-1)
