"""Training crops: a long piece of the spine, and the centres of its vertebrae."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .shared.spine.training_crops import SpineSample, bounds_mm, seen_rows

ASIDE_MM = 40.0  # how far a random turn moves the ends of a long crop at most


class VertebraeCrop(SpineSample):
    """Second stage: a long crop about the spine, and the centres of all vertebrae.

    Args:
        size, spacing_mm, ranges, cut_prob: as :class:`SpineSample`.
        lengths: voxels along the body that random crops draw from; that of ``size`` where None. Batches of more than
            one crop need one length.

    Returns (of the call): ``image`` (1, X, Y, Z), ``label`` (27, 3) in its indices, ``FAR_MM`` for what is not there,
    NaN for what is unknown, ``case``.
    """

    def __init__(
        self, size: Sequence[int], spacing_mm: float = 2.0, lengths: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(size, spacing_mm, **kwargs)
        self.lengths, self.most = lengths, self.ranges

    def draw_length(self) -> None:
        """Draw the length of the next crop; a long one is turned less, so that its ends stay in view."""
        if self.most is None:
            return
        if self.lengths:
            self.size = (*self.size[:2], int(self.lengths[self.R.randint(len(self.lengths))]))
        half_mm = self.size[2] * self.spacing_mm / 2
        self.ranges = replace(self.most, rotate=min(self.most.rotate, ASIDE_MM / half_mm))

    def centre(self, data: Mapping[Any, Any]) -> np.ndarray:
        """Centre (3,) of a crop, RAS mm: along the body within the image, across it on the bodies that are in view."""
        low, high = bounds_mm(data["image"])
        length = self.size[2] * self.spacing_mm
        centre = (low + high) / 2
        centre[2] += (self.part(data) - 0.5) * max(0.0, high[2] - low[2] - length)
        _, bodies = seen_rows(data)
        near = bodies[np.abs(bodies[:, 2] - centre[2]) < length / 2] if len(bodies) else bodies
        if len(near):
            centre[:2] = near[:, :2].mean(axis=0)
        return centre

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        self.draw_length()
        crop = self.crop(self.centre(data))
        image, _ = self.look(data, crop)
        centres = torch.as_tensor(data["centres"]).double()
        rows, _ = seen_rows(data)
        inside = np.array(self.size) / 2
        if rows and self.ranges is not None:
            one = centres[rows[self.R.randint(len(rows))]]
            found = crop.to_output(one[None])[0].numpy()
            if (found >= 0).all() and (found < np.array(self.size)).all():
                inside = found
        kept = self.cut(image, inside)
        return {"image": image, "label": self.points(crop, centres, kept).float(), "case": data["case"]}
