"""The loss of the clustering generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .clusters.losses import assignment_entropy, cluster_consistency, diversity_loss, rounded_square, token_means
from .shared.networks.clustering.tracking import PositionIntensityTracker


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean, 0 where nothing counts; divided before it is summed, so that large values do not overflow."""
    total = weight.sum()
    return (values * (1 / torch.where(total > 0, total, torch.ones_like(total)))).sum()


def laplace_nll(error: Tensor, scale: Tensor) -> Tensor:
    """Negative log likelihood |e| / b + log b of absolute errors under Laplace scales b, any shape.

    Reference: Kendall and Gal, "What uncertainties do we need in Bayesian deep learning?", NeurIPS 2017.
    """
    return error / scale + scale.log()


class ClusterTrackingLoss(nn.Module):
    """Weighted sum of what a predicted volume and its clusters should be.

    - position: Σ w |e| / Σ w, with the weight w of `PositionIntensityTracker`; mean(-w (1 - |e|)) up to a constant
      and a factor, and 0 for a perfect prediction
    - intensity: mean |e|
    - contrast: mean of |∇pred - ∇truth|, summed over the axes
    - cluster: mean variance of the predicted intensity inside the clusters
    - square (option): mean e², the mean error that PSNR goes by
    - diversity (option): 0 where all clusters are used alike
    - entropy (option): 0 where all assignments are sure
    - uncertainty (option): likelihood of the error under the predicted scale; trains the scale alone

    Every term is finite with a finite gradient for any finite prediction and any truth, which may hold NaN where it is
    not known. A prediction that is not finite is an error, not a loss: hiding it would hide a training that diverged.

    Args:
        lambda_position: weight of the position term.
        lambda_intensity: weight of the intensity term.
        lambda_contrast: weight of the contrast term.
        lambda_cluster: weight of the cluster term.
        lambda_square: weight of the square term.
        lambda_diversity: weight of the diversity term.
        lambda_entropy: weight of the entropy term.
        lambda_uncertainty: weight of the uncertainty term.
        position_width: of the weight in the position term, see `PositionIntensityTracker`.
    """

    def __init__(
        self,
        lambda_position: float = 1.0,
        lambda_intensity: float = 1.0,
        lambda_contrast: float = 0.5,
        lambda_cluster: float = 0.3,
        lambda_diversity: float = 0.0,
        lambda_entropy: float = 0.0,
        lambda_uncertainty: float = 0.0,
        lambda_square: float = 0.0,
        position_width: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {
            "position": lambda_position,
            "intensity": lambda_intensity,
            "contrast": lambda_contrast,
            "cluster": lambda_cluster,
            "diversity": lambda_diversity,
            "entropy": lambda_entropy,
            "uncertainty": lambda_uncertainty,
            "square": lambda_square,
        }
        self.tracker = PositionIntensityTracker(position_width)
        self.last_terms: dict[str, Tensor] = {}  # of the last call, without their weights

    def terms(
        self, output: Mapping[str, Tensor], gt_volume: Tensor, roi_weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms without their weights, scalars by name; "uncertainty" where the output has one.

        Args:
            output: of the generator: ``pred_volume`` (B, 1, X, Y, Z), ``cluster_assignments`` (B, N, K) and perhaps
                ``uncertainty`` (B, 1, X, Y, Z).
            gt_volume: (B, 1, X, Y, Z), NaN where it is not known.
            roi_weight: (B or 1, 1, X, Y, Z), see `roi_weight_map`.

        Raises:
            ValueError: where the prediction is not finite.
        """
        pred, assignments = output["pred_volume"].float(), output["cluster_assignments"].float()
        if not bool(torch.isfinite(pred).all() & torch.isfinite(assignments).all()):
            raise ValueError("the prediction is not finite: the training diverged (lower the learning rate)")
        maps = self.tracker(pred, gt_volume, roi_weight)
        weight, known = maps["position_weight"], maps["known"]
        terms = {
            "position": _mean(weight * maps["intensity_error"], weight),
            "intensity": _mean(maps["intensity_error"], known),
            "contrast": _mean(maps["contrast_error"], known),
            "square": _mean(rounded_square(maps["intensity_error"]), known),
            "cluster": cluster_consistency(token_means(pred, assignments.shape[1]), assignments),
            "diversity": diversity_loss(assignments),
            "entropy": assignment_entropy(assignments).mean(),
        }
        if "uncertainty" in output:
            scale = output["uncertainty"][:, 0].float()
            terms["uncertainty"] = _mean(known * laplace_nll(maps["intensity_error"].detach(), scale), known)
        return terms

    def forward(self, output: Mapping[str, Tensor], gt_volume: Tensor, roi_weight: Tensor | None = None) -> Tensor:
        """The weighted sum, a scalar; arguments and errors as of `terms`."""
        terms = self.terms(output, gt_volume, roi_weight)
        self.last_terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
