"""Where the network looks: attention of the transformer at its bottleneck, for one organ or for the whole image."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from PIL import Image
from torch import Tensor, nn

from .organs import OrganTable
from .pictures import beside
from .shared.engines.patches import network_device, pad_to_multiple
from .shared.geometry.frames import plain_tensor, transform_points
from .shared.geometry.grids import volume_affine
from .shared.io.errors import CaseError
from .shared.io.writers import write_nifti
from .shared.pictures.files import save_picture
from .shared.pictures.volume_preview import plane, to_grey

EVERYWHERE = "all"
SCALE = 3  # pixels of the picture per voxel of the working grid
HOT = np.array([255.0, 110.0, 0.0])


def asked_organ(name: str | None, table: OrganTable) -> int | None:
    """The number of the organ whose attention is wanted; None for every place of the image.

    Raises:
        CaseError: for a name that is no organ's, nor "all".
    """
    if name is None or name == EVERYWHERE:
        return None
    if name not in table.numbers:
        raise CaseError("--attention", f"is {name!r}", f"give {EVERYWHERE} or an organ: {', '.join(table.numbers)}")
    return table.numbers[name]


def asking_tokens(inside: Tensor, divisor: int) -> Tensor:
    """bool (N,): tokens of whose block of voxels some lie inside a mask (X, Y, Z), sizes multiples of ``divisor``."""
    x, y, z = (size // divisor for size in inside.shape)
    blocks = inside.reshape(x, divisor, y, divisor, z, divisor)
    return blocks.any(dim=5).any(dim=3).any(dim=1).flatten()


def attention_of(network: nn.Module, image: Tensor, inside: Tensor | None) -> Tensor:
    """How much some places look at each place, relative to looking everywhere alike.

    Args:
        network: with ``attention_maps`` and ``divisor``, in evaluation mode.
        image: (C, X, Y, Z), its input; sizes multiples of ``divisor``.
        inside: bool (X, Y, Z), the places that look; all where None or empty.

    Returns:
        (layers, x, y, z) float32 on the grid of the bottleneck, mean over the heads; 1 is as much as anywhere.
    """
    divisor = int(network.divisor)  # type: ignore[arg-type]
    with torch.no_grad():
        maps: Sequence[Tensor] = network.attention_maps(image[None])  # type: ignore[operator]
    asking = torch.ones(maps[0].shape[-1], dtype=torch.bool)
    if inside is not None and bool(inside.any()):
        asking = asking_tokens(inside.cpu(), divisor)
    size = [n // divisor for n in image.shape[1:]]
    rows = [layer[0].float().mean(dim=0)[asking.to(layer.device)].mean(dim=0).cpu() for layer in maps]
    return torch.stack([row.reshape(*size) * row.numel() for row in rows])


def attention_picture(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """Coronal and sagittal plane of the first channel of an input (X, Y, Z), tinted by a map (X, Y, Z) from 0 to 1."""
    grey, heat = to_grey(image[::-1, ::-1], (0.0, 1.0)), heat[::-1, ::-1]
    places = [int(n) for n in np.unravel_index(int(heat.argmax()), heat.shape)]
    panels = []
    for name, index in (("coronal", places[1]), ("sagittal", places[0])):
        base = plane(grey, name, index)[..., None].repeat(3, axis=-1)
        share = 0.75 * plane(heat, name, index)[..., None]
        tinted = Image.fromarray(((1 - share) * base + share * HOT).astype(np.uint8))
        panels.append(tinted.resize((tinted.width * SCALE, tinted.height * SCALE), Image.Resampling.BILINEAR))
    return beside(panels)


class SaveAttentiond(MapTransform):
    """Write where the network looks when it works on a case.

    ``<case>_attention.nii.gz`` is (x, y, z, layers) on the grid of the bottleneck, in the world of the CT; 1 is as much
    as anywhere. ``<case>_attention.png`` shows where the mean of the
    layers is larger than that.

    Args:
        keys: logits (C, X, Y, Z) on the working grid, which tell where the organ is.
        network: whose attention is written.
        table: organs by name.
        organ: the name of an organ, whose voxels look; "all" for the whole image; nothing is written where None.
        output_dir: where to; nothing is written where None.
        image_key: input of the network.
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: nn.Module,
        table: OrganTable,
        organ: str | None = None,
        output_dir: str | os.PathLike | None = None,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.network, self.image_key, self.wanted = network, image_key, organ is not None
        self.number = asked_organ(organ, table)
        self.output_dir = None if output_dir is None else Path(str(output_dir))

    def write(self, case: str, image: MetaTensor, best: Tensor) -> None:
        """Write both files of a case; ``best`` (X, Y, Z) holds the labels on the working grid."""
        assert self.output_dir is not None
        if not hasattr(self.network, "attention_maps") or isinstance(self.network, torch.jit.ScriptModule):
            raise CaseError("--attention", "needs the network itself", "give --ckpt_path a .pt file")
        divisor = int(self.network.divisor)  # type: ignore[arg-type]
        values = image.as_tensor().to(network_device(self.network))
        inside = None if self.number is None else best == self.number
        padded = None if inside is None else pad_to_multiple(inside[None].to(torch.uint8), divisor, 0)[0] > 0
        layers = attention_of(self.network, pad_to_multiple(values, divisor, 0.0), padded)
        affine = volume_affine(image)
        grid = affine @ np.diag([divisor, divisor, divisor, 1.0])
        grid[:3, 3] = transform_points(affine, np.full(3, (divisor - 1) / 2))
        write_nifti(layers.movedim(0, -1), grid, self.output_dir / f"{case}_attention.nii.gz")
        mean = layers.mean(dim=0)[None, None]
        heat = nn.functional.interpolate(mean, scale_factor=divisor, mode="trilinear")[0, 0]
        heat = heat[tuple(slice(0, n) for n in image.shape[1:])]
        more = (heat - 1).clamp(min=0)  # than anywhere: attention that is alike everywhere shows nothing
        shown = (more / more.max().clamp(min=1)).numpy()
        save_picture(
            attention_picture(image.as_tensor()[0].cpu().numpy(), shown), self.output_dir / f"{case}_attention.png"
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        if self.wanted and self.output_dir is not None and "case" in output:
            for key in self.key_iterator(output):
                best = plain_tensor(output[key]).argmax(dim=0)
                self.write(str(output["case"]), output[self.image_key], best)
        return output
