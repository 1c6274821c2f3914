"""Weights files: right ones load exactly, wrong ones get one clear line."""

from __future__ import annotations

import pytest
import torch

from shared.io.errors import CaseError
from shared.io.weights import load_network, load_weights


def make_network(width: int = 4) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(1, width, 3), torch.nn.BatchNorm2d(width))


def test_weights_come_back(tmp_path):
    source, target = make_network(), make_network()
    torch.save(source.state_dict(), tmp_path / "model.pt")
    loaded = load_network(target, tmp_path / "model.pt")
    assert loaded is target and not loaded.training
    torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_brings_its_own_network(tmp_path):
    source = make_network().eval()
    torch.jit.script(source).save(tmp_path / "model.ts")
    image = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(load_network(make_network(2), tmp_path / "model.ts")(image), source(image))


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such weights file"),
        (b"text", "is not a file of plain tensors"),
        (b"", "is not a file of plain tensors"),
        (make_network(), "is not a file of plain tensors"),  # a pickled module runs code when it is loaded
        ([1, 2], "is not a plain state dict"),
        ({"trainer": {"epoch": 3}, "network": {}}, "is a checkpoint to resume a training from"),
        (make_network(5).state_dict(), r"6 of another shape, 0.weight \(5, 1, 3, 3\) for \(4, 1, 3, 3\)"),
        (make_network()[:1].state_dict(), "another network: 5 missing, the first is 1.bias"),
        (make_network().state_dict() | {"new": torch.zeros(1)}, "another network: 1 unknown, the first is new"),
    ],
)
def test_wrong_weights_are_named(tmp_path, content, message):
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CaseError, match=message) as error:
        load_weights(make_network(), path)
    assert str(path) in str(error.value) and "--ckpt_path" in str(error.value)


def test_wrong_torchscript_is_named(tmp_path):
    path = tmp_path / "model.ts"
    with pytest.raises(CaseError, match="no such weights file"):
        load_network(make_network(), path)
    path.write_text("text")
    with pytest.raises(CaseError, match="is no TorchScript file"):
        load_network(make_network(), path)
