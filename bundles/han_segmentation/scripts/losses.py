"""Loss of organs of which some were not contoured, and the 2-D network's loss as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .organs import OrganTable, drawn_numbers


class PartialLoss(nn.Module):
    """Dice and cross entropy over the organs that the reference of a case shows.

    A voxel outside of the contours says no more than that it belongs to none of the contoured organs. The
    probabilities of background and of all other organs are therefore added up to one class before both terms (marginal
    loss, Shi et al., Medical Image Analysis 70, 2021): nothing is learned about an organ from a case without it.

    Args:
        table: all organs.
        dice_weight: of the Dice term, beside the cross entropy of weight 1.
        smooth: voxels added to both sides of the Dice fraction, against jumps of tiny organs.
        balance: the weight of a class in the cross entropy is ``share ** -balance``, where the share is that of its
            voxels in the crop. Without it the first thousand steps go by before organs of a few hundred voxels are
            found at all, because the Dice term hardly moves a probability that is nearly 0.
        organs: names of the organs that the network draws, its channels in the order of the table; all where empty.
            Labels of other organs count as background.

    Input: logits (B, K, *spatial), background first; a mapping with "labels" (B, 1, *spatial), numbers of the table,
    and "valid" (B, organs of the table + 1), 1 for those that are known (the entry of the background does not matter).
    """

    def __init__(
        self,
        table: OrganTable,
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        balance: float = 0.5,
        organs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.dice_weight, self.smooth, self.balance = dice_weight, smooth, balance
        self.channels = torch.tensor([0, *drawn_numbers(table, organs, "--drawn_organs")])

    def case_loss(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """Loss (scalar) of one case: logits (K, N), labels (N,), valid (K,)."""
        known = valid[self.channels.to(valid.device)] > 0.5
        known[0] = False
        organs = torch.nonzero(known)[:, 0]
        others = torch.nonzero(~known)[:, 0]
        rest = torch.logsumexp(logits[others], dim=0, keepdim=True) if len(others) > 1 else logits[others]
        log_p = F.log_softmax(torch.cat([rest, logits[organs]]), dim=0)
        number = torch.zeros(len(valid), dtype=torch.long, device=logits.device)
        number[self.channels.to(logits.device)[organs]] = torch.arange(1, len(organs) + 1, device=logits.device)
        target = number[labels.long()]
        present = torch.bincount(target, minlength=len(organs) + 1)
        share = present.clamp(min=1) / len(target)
        entropy = F.nll_loss(log_p[None], target[None], share**-self.balance)
        shown = torch.nonzero(present[1:] > 0)[:, 0] + 1
        if self.dice_weight == 0 or not len(shown):
            return entropy
        p = log_p[shown].exp()
        hit = torch.where(target == shown[:, None], p, 0.0).sum(dim=1)
        dice = (2 * hit + self.smooth) / (p.sum(dim=1) + present[shown] + self.smooth)
        return entropy + self.dice_weight * (1 - dice).mean()

    def forward(self, logits: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        cases = zip(logits.float(), target["labels"], target["valid"], strict=True)
        return torch.stack([self.case_loss(x.flatten(1), y.flatten(), v) for x, y, v in cases]).mean()


class WeightedSliceLoss(nn.Module):
    """Binary cross entropy of every organ of its own, weighted against the few voxels that an organ has.

    Args:
        positive_weights: of each organ, how much more a voxel of it counts than one outside.

    Input: logits (B, K - 1, rows, columns) of the organs without background; a mapping as :class:`PartialLoss` takes it
    with slices in place of volumes. Organs that were not contoured do not count.
    """

    def __init__(self, positive_weights: Sequence[float]) -> None:
        super().__init__()
        self.positive_weights = torch.tensor(positive_weights, dtype=torch.float32).view(-1, 1, 1)

    def forward(self, logits: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        count = logits.shape[1]
        numbers = torch.arange(1, count + 1, device=logits.device).view(1, -1, 1, 1)
        truth = (target["labels"].long() == numbers).float()
        weight = self.positive_weights.to(logits.device)
        loss = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none", pos_weight=weight)
        known = target["valid"][:, 1:, None, None].to(loss)
        return (loss * known).sum() / (known.sum() * loss[0, 0].numel()).clamp(min=1)
