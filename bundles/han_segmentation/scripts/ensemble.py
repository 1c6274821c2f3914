"""Further networks that draw some of the organs, averaged with the first look.

Networks that were trained differently make different mistakes: the mean of their probabilities is often better than
each of them (Lakshminarayanan et al., Simple and scalable uncertainty estimation by deep ensembles, NeurIPS 2017).
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from monai.config import KeysCollection
from monai.inferers import SlidingWindowInferer
from monai.transforms import MapTransform
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from .organs import OrganTable
from .shared.engines.patches import network_device
from .shared.geometry.frames import plain_tensor
from .shared.geometry.grids import volume_affine
from .shared.io.weights import load_network


def load_members(
    network: nn.Module, ckpt_paths: Sequence[str | os.PathLike], device: torch.device | str = "cpu"
) -> list[nn.Module]:
    """One network per file of weights; none for an empty list.

    Raises:
        CaseError: as :func:`~.shared.io.weights.load_network`.
    """
    return [load_network(deepcopy(network), path, device) for path in ckpt_paths if path]


def averaged(first: Tensor, others: Sequence[Tensor], organs: Sequence[int]) -> Tensor:
    """Probabilities in which several networks decide about some organs, and the first one about the rest.

    Args:
        first: (K, *spatial), background first, adding up to 1.
        others: (len(organs), *spatial) each, probabilities of these organs.
        organs: channels of ``first`` that all networks know. What they leave over on average is shared among the other
            channels in the proportions of the first network.

    Returns:
        (K, *spatial), adding up to 1; memory of ``first``.
    """
    known = list(organs)
    rest = [n for n in range(len(first)) if n not in known]
    mean = torch.stack([first[known], *others]).mean(dim=0)
    first[0] += torch.finfo(first.dtype).tiny  # where the first network sees nothing but the known organs
    left = (1 - mean.sum(dim=0)).clamp(min=0) / first[rest].sum(dim=0)
    for channel in rest:
        first[channel] *= left
    first[known] = mean
    return first


def organ_box(labels: Tensor, organs: Sequence[int], margin: int, least: Sequence[int]) -> tuple[slice, ...] | None:
    """Box around organs in a label map (X, Y, Z), with a margin, within the map; None where there is none of them.

    Args:
        labels: integers.
        organs: numbers.
        margin: voxels.
        least: size of the box, where the map is as large: with what lies around rather than with nothing.
    """
    found = torch.nonzero(torch.isin(labels, torch.tensor(list(organs), device=labels.device)))
    if not len(found):
        return None
    box = []
    for low, high, size, shape in zip(found.amin(0).tolist(), found.amax(0).tolist(), least, labels.shape, strict=True):
        length = min(shape, max(high - low + 1 + 2 * margin, size))
        start = min(max((low + high + 1 - length) // 2, 0), shape - length)
        box.append(slice(start, start + length))
    return tuple(box)


class AverageMembersd(MapTransform):
    """Average the logits of the first look with those of other networks, in a box around what it found.

    Args:
        keys: logits (K, x, y, z) of the first look, background first; log probabilities afterwards.
        networks: the members of the ensemble; none where the list is empty.
        inferer: that runs each of them, logits (B, K, x, y, z).
        table: all organs.
        organs: names of the organs that they draw.
        margin_mm: of the box around these organs. Outside of it the first look decides alone.
        image_key: input of the networks (C, x, y, z) on the same isotropic grid, with its affine.
    """

    def __init__(
        self,
        keys: KeysCollection,
        networks: Sequence[nn.Module],
        inferer: SlidingWindowInferer,
        table: OrganTable,
        organs: Sequence[str],
        margin_mm: float = 15.0,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.networks, self.inferer, self.image_key = list(networks), inferer, image_key
        self.organs = table.numbers_of(organs, "--ensemble_organs") if self.networks else ()
        self.margin_mm = float(margin_mm)

    def member(self, network: nn.Module, image: Tensor) -> Tensor:
        """Probabilities (len(organs), x, y, z) of one network for an input (C, x, y, z)."""
        with torch.no_grad():
            logits = torch.as_tensor(self.inferer(image[None].to(network_device(network)), network))[0]
        return logits.float().softmax(dim=0)[list(self.organs)]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        if not self.networks:
            return output
        margin = round(self.margin_mm / float(volume_affine(output[self.image_key])[0, 0]))
        image = plain_tensor(output[self.image_key])
        for key in self.key_iterator(output):
            scores = plain_tensor(output[key]).float().softmax(dim=0)
            box = organ_box(scores.argmax(dim=0), self.organs, margin, ensure_tuple_rep(self.inferer.roi_size, 3))
            if box is None:
                continue
            inside = (slice(None), *box)
            members = [self.member(network, image[inside]).to(scores.device) for network in self.networks]
            scores[inside] = averaged(scores[inside], members, self.organs)
            output[key] = scores.log()
        return output
