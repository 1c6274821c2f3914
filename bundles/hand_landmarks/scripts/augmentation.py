"""Random views of a hand for training: image and landmarks moved together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from .alignment import overview_matrix, upright_matrix
from .landmark_set import LandmarkSet
from .shared.geometry.deform import Deformation, random_controls
from .shared.geometry.frames import plain_tensor


class RandHandViewd(Randomizable, MapTransform):
    """Sample the network input from the canvas in a random overview or upright frame, with elastic deformation.

    The ranges are those of an overview; an upright view, which inference only reaches after a first pass has found the
    hand, varies by the fraction ``upright_range`` of them. Landmarks come out in indices of the network input.

    Args:
        landmark_set: of the landmarks.
        keys: the canvas, (1, X, Y).
        points_key: landmarks (K, 2) in canvas indices.
        size: (X, Y) of the network input.
        overview_prob: how often the whole canvas is shown.
        rotate: +- rad.
        translate_mm: +- mm along each axis.
        scale: +- fraction, once overall and once per axis with a quarter of it.
        elastic_mm: +- mm of the B-spline control points.
        elastic_grid: control points per axis.
        upright_range: fraction of the ranges above in an upright view (the elastic part stays whole).
    """

    def __init__(
        self,
        landmark_set: LandmarkSet,
        keys: KeysCollection = "image",
        points_key: str = "landmarks",
        size: Sequence[int] = (288, 384),
        overview_prob: float = 0.4,
        rotate: float = 0.4,
        translate_mm: float = 15.0,
        scale: float = 0.25,
        elastic_mm: float = 8.0,
        elastic_grid: int = 5,
        upright_range: float = 0.35,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.landmark_set = landmark_set
        self.points_key, self.size, self.overview_prob = points_key, tuple(size), overview_prob
        self.rotate, self.translate_mm, self.scale = rotate, translate_mm, scale
        self.elastic_mm, self.elastic_grid, self.upright_range = elastic_mm, elastic_grid, upright_range

    def random_deformation(self, canvas: Sequence[int], points: Tensor) -> Deformation:
        """Draw one view of a canvas whose landmarks (K, 2) are known."""
        overview = self.R.rand() < self.overview_prob
        if overview:
            matrix = overview_matrix(canvas, self.size)
        else:
            matrix = upright_matrix(points, self.landmark_set.mean, self.size)[0]
        amount = 1.0 if overview else self.upright_range
        angle = amount * self.rotate * self.R.uniform(-1, 1)
        zoom = 1 + amount * self.scale * self.R.uniform(-1, 1)
        zooms = zoom * (1 + amount * self.scale / 4 * self.R.uniform(-1, 1, size=2))
        # mm to pixels of this view, by the size of this hand
        mm_per_index = self.landmark_set.mm_per_unit(points.numpy())
        pixels_per_mm = 1 / mm_per_index / float(matrix[:2, :2].det().abs().sqrt()) / zoom
        shift = amount * self.translate_mm * pixels_per_mm * self.R.uniform(-1, 1, size=2)

        centre = (torch.tensor(self.size, dtype=torch.float64) - 1) / 2
        turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ torch.diag(
            torch.as_tensor(zooms)
        )
        jitter = torch.eye(3, dtype=torch.float64)
        jitter[:2, :2] = turn
        jitter[:2, 2] = centre + torch.as_tensor(shift) - turn @ centre
        generator = torch.Generator().manual_seed(int(self.R.randint(2**31)))
        magnitude = float(self.elastic_mm * pixels_per_mm)
        controls = random_controls(generator, 2, self.elastic_grid, magnitude, self.size)
        return Deformation((matrix @ jitter)[:2].float(), controls, self.size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        points = torch.as_tensor(result[self.points_key]).float()
        for key in self.key_iterator(result):
            image = result[key]
            deformation = self.random_deformation(tuple(image.shape[1:]), points)
            result[key] = deformation.apply(plain_tensor(image).float())
            points = deformation.to_output(points)
        # A landmark that the view has cut off is absent.
        outside = ((points < 0) | (points > torch.tensor(self.size) - 1)).any(dim=-1)
        result[self.points_key] = points.masked_fill(outside[:, None], float("nan"))
        return result
