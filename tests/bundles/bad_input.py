"""Files and calls that several bundles refuse, for their contract data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.bundles.spec import BadCall


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Noise of (width, height) pixels."""
    values = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    return Image.fromarray(values)


def write_truncated(path: Path) -> None:
    picture((200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def write_colour(path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def empty_folder(folder: Path) -> Mapping[str, Any]:
    (folder / "empty").mkdir()
    return {"dataset_dir": folder / "empty"}


def other_weights(folder: Path) -> Mapping[str, Any]:
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "other.pt")
    return {"ckpt_path": folder / "other.pt"}


def inference_calls(kind: str) -> tuple[BadCall, ...]:
    """Calls that the inference of every bundle refuses; ``kind`` is what it wants to find, such as "volume"."""
    return (
        BadCall(
            "no_such_folder", "inference", lambda f: {"dataset_dir": f / "nowhere"}, "nowhere: no such file or folder"
        ),
        BadCall("empty_folder", "inference", empty_folder, f"empty: holds no {kind}"),
        BadCall(
            "missing_weights", "inference", lambda f: {"ckpt_path": f / "none.pt"}, "none.pt: no such weights file"
        ),
        BadCall("other_weights", "inference", other_weights, "other.pt: holds weights of another network"),
    )
