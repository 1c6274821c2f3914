"""Loading trained weights, with one clear line when a file is not what it should be."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from .errors import CaseError, one_line

OWN_WEIGHTS = "give --ckpt_path the weights of this bundle (models/model.pt or the model.pt of a training)"


def read_tensors(path: str | os.PathLike, device: torch.device | str = "cpu", advice: str = OWN_WEIGHTS) -> Any:
    """Content of a file of tensors and plain values, read without running any code in it.

    Args:
        path: of the file.
        device: where the tensors go.
        advice: what to do about a file that is not to be read.

    Raises:
        CaseError: when the file is missing or holds anything else.
    """
    if not Path(path).is_file():
        raise CaseError(path, "no such weights file", advice)
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise CaseError(path, "is not a file of plain tensors that PyTorch can read", advice) from error


def describe_mismatch(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str | None:
    """What keeps a state dict from fitting a network, in a few words; None when it fits."""
    missing = sorted(expected.keys() - found.keys())
    unknown = sorted(found.keys() - expected.keys())
    shapes = [key for key in expected if key in found and expected[key].shape != found[key].shape]
    if not (missing or unknown or shapes):
        return None
    parts = [f"{len(keys)} {word}" for keys, word in ((missing, "missing"), (unknown, "unknown")) if keys]
    if shapes:
        key = shapes[0]
        parts.append(
            f"{len(shapes)} of another shape, {key} {tuple(found[key].shape)} for {tuple(expected[key].shape)}"
        )
    elif missing or unknown:
        parts.append(f"the first is {(missing or unknown)[0]}")
    return "holds weights of another network: " + ", ".join(parts)


def load_weights(network: torch.nn.Module, path: str | os.PathLike, advice: str = OWN_WEIGHTS) -> torch.nn.Module:
    """Load a plain state dict into a network, every key of it.

    Args:
        network: takes the weights.
        path: of the file.
        advice: what to do about a file that does not fit.

    Returns:
        the network.

    Raises:
        CaseError: when the file is missing, is not a plain state dict or belongs to another network.
    """
    state = read_tensors(path, advice=advice)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        is_checkpoint = isinstance(state, dict) and "trainer" in state
        kind = "is a checkpoint to resume a training from" if is_checkpoint else "is not a plain state dict"
        raise CaseError(path, f"{kind}, no weights alone", advice)
    if problem := describe_mismatch(network.state_dict(), state):
        raise CaseError(path, problem, advice)
    network.load_state_dict(state)
    return network


def load_network(
    network: torch.nn.Module, ckpt_path: str | os.PathLike, device: torch.device | str = "cpu"
) -> torch.nn.Module:
    """The network with trained weights on a device, ready for inference.

    Args:
        network: takes the weights of a ``.pt`` state dict; a ``.ts`` file (TorchScript) brings a network of its own.
        ckpt_path: the weights.
        device: where to.

    Raises:
        CaseError: as :func:`load_weights`.
    """
    if Path(ckpt_path).suffix == ".ts":
        if not Path(ckpt_path).is_file():
            raise CaseError(ckpt_path, "no such weights file", OWN_WEIGHTS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit, which MONAI's export uses
                network = torch.jit.load(str(ckpt_path), map_location=device)
        except Exception as error:
            problem = f"is no TorchScript file ({one_line(str(error))[:80]})"
            raise CaseError(ckpt_path, problem, "export it with monai.bundle ckpt_export") from error
        return network.eval()
    return load_weights(network, ckpt_path).to(device).eval()
