"""Look into a PyTorch file without running anything in it: `python -m scripts.inspect_pt model.pt`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .shared.engines.terminal import run_command
from .shared.io.errors import CaseError, one_line

LONGEST_VALUE = 60
STARTS = (b"PK", b"\x80")  # of a zip archive, and of a pickle as older versions wrote it


def flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested mappings, lists and tuples with its path, such as ``optimizer/state/0/step``."""
    items: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping) and value:
        items = iter(value.items())
    elif isinstance(value, (list, tuple)) and value:
        items = iter(enumerate(value))
    if items is None:
        yield key or "(whole file)", value
        return
    for name, part in items:
        yield from flatten(part, f"{key}/{name}" if key else str(name))


def describe_tensor(tensor: Tensor) -> str:
    """Shape, type and, where they can be counted, range, mean and the number of values that are not finite."""
    text = f"{' x '.join(map(str, tensor.shape)) or 'scalar'}  {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return f"{text}  {str(tensor.layout).removeprefix('torch.')}"
    if tensor.numel() == 0:
        return f"{text}  empty"
    values = (tensor.abs() if tensor.is_complex() else tensor).double()
    finite = values[torch.isfinite(values)]
    if finite.numel():
        spread = finite.std(correction=0)
        text += f"  min {finite.min():.4g}  max {finite.max():.4g}  mean {finite.mean():.4g}  std {spread:.4g}"
    if bad := values.numel() - finite.numel():
        text += f"  {bad} NaN or infinite"
    return text


def describe_value(value: Any) -> str:
    """One line for a leaf."""
    if isinstance(value, Tensor):
        return describe_tensor(value)
    text = one_line(repr(value))
    return f"{type(value).__name__}  {text[:LONGEST_VALUE]}{'…' if len(text) > LONGEST_VALUE else ''}"


def load_safely(path: str | os.PathLike) -> Any:
    """Content of a file of tensors and plain values.

    Raises:
        CaseError: when it holds anything else, which is not executed, or is no such file.
    """
    if not Path(path).is_file():
        raise CaseError(path, "no such file", "give a .pt or .pth file")
    advice = "save a state dict or a dictionary of tensors"
    with open(path, "rb") as file:
        if not file.read(2).startswith(STARTS):
            raise CaseError(path, "is no PyTorch file", advice)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling foreign bytes raises errors of any kind
        # PyTorch's own message is a page of advice on how to run the code after all.
        if "TorchScript" in str(error):
            reason = "is a TorchScript archive, which holds code"
        elif "Unsupported global" in str(error) or "WeightsUnpickler" in str(error):
            reason = "holds objects other than tensors and plain values, which could run code"
        else:
            reason = f"is cut off or damaged ({type(error).__name__})"
        raise CaseError(path, reason, advice) from error


def inspect_pt(path: str) -> str:
    """A table of what a PyTorch file holds: key, shape, type, and statistics of every tensor.

    Args:
        path: file of ``torch.save``.

    Raises:
        CaseError: when the file holds anything but tensors and plain values.
    """
    leaves = list(flatten(load_safely(str(path))))
    width = max(len(key) for key, _ in leaves)
    tensors = [value for _, value in leaves if isinstance(value, Tensor)]
    total = sum(tensor.numel() for tensor in tensors)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    lines = [f"{key:<{width}}  {describe_value(value)}" for key, value in leaves]
    return "\n".join([*lines, f"{len(tensors)} tensors, {total} values, {size / 1e6:.2f} MB"])


if __name__ == "__main__":
    run_command(inspect_pt)
