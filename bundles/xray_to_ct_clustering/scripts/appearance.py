"""What training X-rays look like: a small linear model of each view, by which others are told and oriented."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared.io.errors import CaseError
from .shared.io.weights import read_tensors

SIDE = 32  # pixels of the compared pictures
COMPONENTS = 16
WITHIN = 3.0  # standard deviations that a component may reach
VIEWS = ("frontal", "lateral")


def small(images: Tensor) -> Tensor:
    """Images (B, rows, columns) averaged down to (B, SIDE²)."""
    return F.adaptive_avg_pool2d(images[:, None].float(), SIDE).flatten(1)


@dataclass(frozen=True)
class Appearance:
    """Mean and main components of the training X-rays of each view.

    Attributes:
        mean: (2, SIDE²), frontal and lateral.
        components: (2, C, SIDE²), orthonormal.
        spread: (2, C), standard deviations along them.
        limit: (2,), the `strangeness` from where on a picture is called unlike the training data.
    """

    mean: Tensor
    components: Tensor
    spread: Tensor
    limit: Tensor

    @classmethod
    def fit(cls, pairs: Tensor, limit: Sequence[float] = (1.0, 1.0)) -> Appearance:
        """Model of pairs (N, 2, rows, columns) of training X-rays as the network takes them."""
        means, components, spreads = [], [], []
        for view in range(2):
            samples = small(pairs[:, view])
            mean = samples.mean(dim=0)
            _, singular, directions = torch.linalg.svd(samples - mean, full_matrices=False)
            means.append(mean)
            components.append(directions[:COMPONENTS])
            spreads.append(singular[:COMPONENTS] / max(len(samples) - 1, 1) ** 0.5)
        return cls(torch.stack(means), torch.stack(components), torch.stack(spreads), torch.tensor(limit))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Appearance:
        """Model of a file that `save` wrote.

        Raises:
            CaseError: where it is missing or holds something else.
        """
        content = read_tensors(path)
        names = ("mean", "components", "spread", "limit")
        if not isinstance(content, dict) or set(content) != set(names):
            raise CaseError(path, "holds no model of the training X-rays", "make one with scripts.fit_appearance")
        return cls(*(content[name].float() for name in names))

    def tensors(self) -> dict[str, Tensor]:
        """What is saved, in half precision but for the limits."""
        return {
            "mean": self.mean.half(),
            "components": self.components.half(),
            "spread": self.spread.half(),
            "limit": self.limit.float(),
        }

    def strangeness(self, images: Tensor, view: int) -> Tensor:
        """Share (B,) of the contrast of images (B, rows, columns) that the model of a view does not explain.

        The root of the squared rest over the squared deviation from the image's own mean: 0 for a picture that the
        model explains, about 1 for one that has nothing to do with it.
        """
        samples = small(images)
        deviation = samples - self.mean[view]
        bound = WITHIN * self.spread[view]
        weights = torch.minimum(torch.maximum(deviation @ self.components[view].mT, -bound), bound)
        rest = deviation - weights @ self.components[view]
        contrast = (samples - samples.mean(dim=1, keepdim=True)).norm(dim=1)
        return rest.norm(dim=1) / contrast.clamp(min=1e-6)
