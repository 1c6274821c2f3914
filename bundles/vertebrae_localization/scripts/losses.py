"""Loss of the heatmaps of many similar landmarks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared.geometry.heatmaps import HeatmapLoss, gaussian_heatmaps
from .shared.spine.label_probabilities import TEMPERATURE


class VertebraHeatmapLoss(HeatmapLoss):
    """Heatmap loss of Payer et al. (:class:`~shared.geometry.heatmaps.HeatmapLoss`) for many similar landmarks.

    A Gaussian fills a thousandth of a volume and looks much like its neighbours', so that the plain squared error is
    almost as small for empty heatmaps, and trainings stay there for thousands of steps. Two terms lead away from it:
    errors count more where the target is bright, and at each true centre the heatmaps of all vertebrae are compared
    by a cross entropy, which asks for the right one to be the highest.

    Args:
        num_landmarks: K.
        sigma, learnable_sigma, alpha, gamma, stride: as the base class.
        foreground_weight: the squared error of a voxel counts ``1 + foreground_weight * target / peak`` times.
        label_weight: weight of the cross entropy; 0 leaves it out.
        temperature: of the heatmaps in the cross entropy.

    Input: heatmaps (B, K, *spatial) and points (B, K, D) in image voxels; NaN where unknown (no contribution), far
    outside where there is no such vertebra (an empty heatmap is wanted).
    """

    def __init__(
        self,
        num_landmarks: int,
        sigma: float = 2.0,
        learnable_sigma: bool = True,
        alpha: float = 0.1,
        gamma: float = 1000.0,
        stride: int = 1,
        foreground_weight: float = 10.0,
        label_weight: float = 20.0,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__(num_landmarks, sigma, learnable_sigma, alpha, gamma, stride)
        self.foreground_weight, self.label_weight, self.temperature = foreground_weight, label_weight, temperature

    def label_loss(self, heatmaps: Tensor, points: Tensor) -> Tensor:
        """Cross entropy (scalar) over the landmarks at every true centre inside the heatmaps."""
        size = torch.tensor(heatmaps.shape[2:], dtype=points.dtype, device=points.device)
        centres = points / self.stride
        inside = ((centres >= 0) & (centres <= size - 1)).all(dim=-1)  # false for NaN
        if not inside.any():
            return heatmaps.sum() * 0.0
        windows = gaussian_heatmaps(centres, heatmaps.shape[2:], self.sigma.detach()).flatten(2)
        windows = windows / windows.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        means = torch.bmm(windows, heatmaps.flatten(2).transpose(1, 2))  # (B, K centres, K heatmaps)
        number = torch.arange(heatmaps.shape[1], device=heatmaps.device).expand(len(heatmaps), -1)
        return F.cross_entropy(self.temperature * means[inside], number[inside])

    def forward(self, heatmaps: Tensor, points: Tensor) -> Tensor:
        heatmaps = torch.as_tensor(heatmaps).float()
        points = torch.as_tensor(points).to(heatmaps)
        known = ~torch.isnan(points).any(dim=-1)
        targets = self.targets(points, heatmaps.shape[2:])
        peaks = targets.detach().amax(dim=tuple(range(2, targets.ndim)), keepdim=True).clamp(min=1e-6)
        weights = 1 + self.foreground_weight * targets.detach() / peaks
        squared = ((heatmaps - targets).square() * weights).flatten(2).sum(dim=-1)
        count = known.sum().clamp(min=1)
        loss = squared.masked_fill(~known, 0.0).sum() / count
        if self.learnable_sigma:
            penalty = self.sigma.square().expand_as(known).masked_fill(~known, 0.0).sum() / count
            loss = loss + self.alpha * penalty
        if self.label_weight > 0:
            loss = loss + self.label_weight * self.label_loss(heatmaps, points)
        return loss
