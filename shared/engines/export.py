"""Exports the network of a bundle as a `torch.export` program (.pt2) or as ONNX; run from the bundle folder:

    python -m scripts.shared.engines.export --filepath models/model.pt2
    python -m scripts.shared.engines.export --filepath models/model.onnx

The suffix says the format. (TorchScript: `python -m monai.bundle ckpt_export`.) Batch and spatial sizes stay free as
far as `network_data_format` of metadata.json leaves them free: a size "8*n" there becomes any multiple of 8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch.export import Dim

from .terminal import run_command

BATCH_MAX = 1024
FACTOR_MIN = 2  # torch.export takes a size of one, here of the coarsest grid, as a case of its own
FACTOR_MAX = 4096
EXAMPLE_FACTOR = 16


def free_dimensions(spatial_shape: Sequence[int | str]) -> tuple[dict[int, Any], list[int]]:
    """Dimensions of a (batch, channel, *spatial) tensor that may change, and example sizes of the spatial ones.

    Args:
        spatial_shape: as in metadata.json: a number for a fixed size, "*" for any size, "8*n" for a multiple.

    Raises:
        ValueError: for other expressions.
    """
    dimensions: dict[int, Any] = {0: Dim("batch", min=1, max=BATCH_MAX)}
    sizes = []
    for axis, size in enumerate(spatial_shape):
        if isinstance(size, int):
            sizes.append(size)
            continue
        match = re.fullmatch(r"\*|(\d+)\s*\*\s*[a-z]", size)
        if match is None:
            raise ValueError(f'spatial_shape {size!r} cannot be exported: use a number, "*" or "8*n"')
        multiple = int(match[1] or 1)
        dimensions[axis + 2] = multiple * Dim(f"n{axis}", min=FACTOR_MIN, max=FACTOR_MAX)
        sizes.append(multiple * EXAMPLE_FACTOR)
    return dimensions, sizes


def load_network(parser: ConfigParser, net_id: str, ckpt_file: str | Path) -> torch.nn.Module:
    """The network of a parsed config with weights from a plain state dict, on the CPU, in evaluation mode."""
    network: torch.nn.Module = parser.get_parsed_content(net_id)
    network.load_state_dict(torch.load(ckpt_file, map_location="cpu", weights_only=True))
    return network.cpu().eval()


def export(
    filepath: str,
    ckpt_file: str = "models/model.pt",
    config_file: str = "configs/inference.json",
    meta_file: str = "configs/metadata.json",
    net_id: str = "network_def",
) -> None:
    """Writes the network with its weights to `filepath` (.pt2 or .onnx)."""
    suffix = Path(filepath).suffix
    if suffix not in (".pt2", ".onnx"):
        raise SystemExit(f"{filepath}: the suffix must be .pt2 or .onnx")
    parser = ConfigParser()
    parser.read_config(config_file)
    parser.read_meta(meta_file)
    network = load_network(parser, net_id, ckpt_file)
    image = parser["_meta_#network_data_format#inputs#image"]
    dimensions, sizes = free_dimensions(image["spatial_shape"])
    example = torch.rand(2, image["num_channels"], *sizes)  # a batch of one would be taken as fixed
    Path(filepath).parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=(dimensions,))
    if suffix == ".pt2":
        torch.export.save(program, filepath)
    else:
        onnx = torch.onnx.export(program, input_names=["image"], output_names=["pred"], external_data=False)
        assert onnx is not None
        onnx.save(filepath, external_data=False)
    print(f"{filepath}: {Path(filepath).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(export)
