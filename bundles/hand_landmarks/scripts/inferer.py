"""Find the hand in an overview, bring it upright, place the landmarks in the upright view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.inferers import Inferer
from torch import Tensor

from .alignment import overview_matrix, upright_matrix
from .landmark_set import LandmarkSet
from .points import transform_points
from .shared.engines.settings import flag
from .shared.geometry.deform import Deformation, sample
from .shared.geometry.frames import plain_tensor
from .shared.geometry.heatmaps import decode_heatmaps


class HandLandmarkInferer(Inferer):
    """Two passes of one network.

    The first pass sees the whole canvas. Where its points do not look like a hand of the side that the network knows,
    mirrored and turned views are tried and the one that looks most like a hand is kept: a hand of the other side is
    processed as its mirror image. The later passes see the hand upright, as the pass before has found it.

    Args:
        landmark_set: of the landmarks; the network was trained on hands of its side.
        size: (X, Y) of the network input.
        stride: input pixels per heatmap pixel.
        passes: upright passes.
        views: views of each upright pass, shifted by fractions of a heatmap pixel, whose points are averaged.
        amp: run the network in bfloat16.
        accept: score of the first view from which on no other is tried.

    Input (B, 1, X, Y) canvases; output (B, K, 3): x, y in canvas indices and the confidence in 0..1.
    """

    def __init__(
        self,
        landmark_set: LandmarkSet,
        size: Sequence[int] = (288, 384),
        stride: int = 2,
        passes: int = 1,
        views: int = 1,
        amp: bool = True,
        accept: float = 0.5,
    ) -> None:
        super().__init__()
        self.mean = landmark_set.mean
        self.size, self.stride, self.passes, self.views = tuple(size), stride, passes, views
        self.amp, self.accept = flag("amp", amp), accept

    def __call__(self, inputs: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        canvases = plain_tensor(inputs).float()
        return torch.stack([self.locate(canvas, network) for canvas in canvases])

    def locate(self, canvas: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Landmarks (K, 3) of one canvas (1, X, Y)."""
        shape = tuple(canvas.shape[1:])
        points, confidence, mirror, score = self.best_view(canvas, network, [(0, False)])
        if score < self.accept:
            others = [(turns, mirror) for turns in range(4) for mirror in (False, True)][1:]
            other = self.best_view(canvas, network, others)
            if other[3] > 1.1 * score:  # as the file has it, unless another view is clearly better
                points, confidence, mirror, score = other
        flip = overview_matrix(shape, shape, mirror=mirror)  # the canvas mirrored onto itself
        for _ in range(self.passes):
            weights = confidence.clamp(min=1e-3)
            matrix = flip @ upright_matrix(transform_points(points, flip), self.mean, self.size, weights)[0]
            shifts = torch.eye(3, dtype=torch.float64).repeat(self.views, 1, 1)
            shifts[:, :2, 2] = self.stride / self.views * torch.arange(self.views)[:, None]
            found, trust = self.look(canvas, network, list(matrix @ shifts))
            shares = trust.clamp(min=1e-3)[..., None]
            points, confidence = (found * shares).sum(dim=0) / shares.sum(dim=0), trust.mean(dim=0)
        return torch.cat([points, confidence[:, None]], dim=1).to(canvas.device)

    def best_view(
        self, canvas: Tensor, network: Callable[[Tensor], Tensor], views: list[tuple[int, bool]]
    ) -> tuple[Tensor, Tensor, bool, float]:
        """Points (K, 2), confidences (K,), mirrored or not, and score of the view that looks most like a hand.

        Args:
            views: quarter turns and mirroring of each.
        """
        shape = tuple(canvas.shape[1:])
        matrices = [overview_matrix(shape, self.size, turns, mirror) for turns, mirror in views]
        points, confidence = self.look(canvas, network, matrices)
        best: tuple[Tensor, Tensor, bool, float] | None = None
        for (_, mirror), view_points, view_confidence in zip(views, points, confidence, strict=True):
            flip = overview_matrix(shape, shape, mirror=mirror)
            weights = view_confidence.clamp(min=1e-3)
            residuals = upright_matrix(transform_points(view_points, flip), self.mean, self.size, weights)[1]
            score = hand_score(view_confidence, residuals)
            if best is None or score > best[3]:
                best = view_points, view_confidence, mirror, score
        assert best is not None
        return best

    def look(
        self, canvas: Tensor, network: Callable[[Tensor], Tensor], matrices: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Points (V, K, 2) in canvas indices and confidences (V, K) of V views (3, 3 maps from input to canvas)."""
        grids = torch.stack([Deformation(matrix[:2].float(), None, self.size).grid() for matrix in matrices])
        views = sample(canvas.expand(len(matrices), -1, -1, -1), grids.to(canvas.device))
        with torch.autocast(canvas.device.type, dtype=torch.bfloat16, enabled=self.amp):
            heatmaps = network(views)
        points, peaks = decode_heatmaps(heatmaps.float(), self.stride)
        points = torch.stack([transform_points(p, m) for p, m in zip(points.cpu(), matrices, strict=True)])
        return points, peaks.clamp(0, 1).cpu()


def hand_score(confidence: Tensor, residuals: Tensor) -> float:
    """How much a set of points looks like a hand, in 0..1.

    Args:
        confidence: (K,) peaks in 0..1.
        residuals: (K,) distances in mm from the mean hand; real hands lie near 5 mm.
    """
    return float(confidence.mean() * torch.exp(-((residuals.mean() / 15.0) ** 2)))
