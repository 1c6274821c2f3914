"""What the trainings share: batches, the schedule of the learning rate, the figure that decides on the best weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from matplotlib.axes import Axes
from monai.handlers import IgniteMetricHandler
from torch import Tensor, nn

from .metrics import organ_dice
from .shared.engines.items import iteration_items
from .shared.evaluation.point_metrics import PointErrorMetric
from .shared.geometry.frames import plain_tensor
from .shared.io.errors import CaseError
from .shared.io.weights import read_tensors


def prepare_batch(
    batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Image (B, C, *spatial), channels last where they are volumes; "labels" and "valid" as the losses take them."""
    image = plain_tensor(batchdata["image"])
    layout = torch.channels_last_3d if image.ndim == 5 else torch.channels_last
    image = image.to(device, memory_format=layout, non_blocking=non_blocking, **kwargs)
    target = {
        key: plain_tensor(batchdata[key]).to(device, non_blocking=non_blocking)
        for key in ("labels", "valid")
        if key in batchdata
    }
    return image, target


def warmup_decay(epochs: int, warmup: float = 2.0) -> Callable[[int], float]:
    """Factor of the learning rate by epoch: rises during the warm-up, then falls to nearly 0 at the end.

    The function is not part of a checkpoint: a training that is resumed with another number of epochs follows the
    schedule of the new one.

    Args:
        epochs: of the training.
        warmup: epochs.
    """

    def factor(epoch: int) -> float:
        rise = min(1.0, (epoch + 1) / (warmup + 1))
        fall = max(0.0, 1 - epoch / max(1, epochs)) ** 0.9
        return float(rise * fall)

    return factor


def mean_known(table: Tensor) -> float:
    """Mean of the figures (N, K) that are there; NaN where there is none."""
    values = table[torch.isfinite(table)]
    return float(values.mean()) if len(values) else float("nan")


class OrganDice(IgniteMetricHandler):
    """Mean volumetric Dice over contoured organs of all cases, as metric of an evaluator that decollates its batches.

    Args:
        pred: key of a label map (1, *spatial).
        label: key of the reference (1, *spatial).
        valid: key of the known channels (K,).
    """

    def __init__(self, pred: str = "pred", label: str = "labels", valid: str = "valid") -> None:
        super().__init__(metric_fn=PointErrorMetric(mean_known), save_details=True)
        self.pred, self.label, self.valid = pred, label, valid

    def iteration_completed(self, engine: Engine) -> None:
        for item in iteration_items(engine):
            arrays = [plain_tensor(item[key]).cpu().numpy() for key in (self.pred, self.label)]
            known = plain_tensor(item[self.valid]).cpu().numpy() > 0.5
            scores = organ_dice(arrays[0], arrays[1], known)
            # the metric that gathers tables over processes measures distances of points: from 0, here, to the score
            points = torch.as_tensor(scores)[None, :, None]
            self.update([points, torch.zeros_like(points)])


def missing_dice(item: Mapping[str, Any]) -> float:
    """One minus the mean Dice of a case, NaN without contoured organs."""
    arrays = [plain_tensor(item[key]).cpu().numpy() for key in ("pred", "labels")]
    known = plain_tensor(item["valid"]).cpu().numpy() > 0.5
    scores = organ_dice(arrays[0], arrays[1], known)
    return float("nan") if np.isnan(scores).all() else 1 - float(np.nanmean(scores))


def draw_case(axes: Axes, item: Mapping[str, Any]) -> None:
    """Axial slice with most labels: true (lime) and found (red) borders of the organs over the bone window."""
    image, labels, pred = (plain_tensor(item[key]).cpu().numpy() for key in ("image", "labels", "pred"))
    z = int((labels[0] > 0).sum(axis=(0, 1)).argmax())
    axes.imshow(image[1, :, :, z].T, cmap="gray", origin="lower")
    for array, color in ((labels, "lime"), (pred, "red")):
        for number in np.unique(array[0, :, :, z]):
            if number > 0:
                axes.contour((array[0, :, :, z] == number).T, levels=[0.5], colors=color, linewidths=0.6)


def start_network(network: nn.Module, init_from: str | os.PathLike | None = None) -> nn.Module:
    """The network that a training starts from: as it is, or with the weights of another training.

    Tensors of other shapes, such as those of an input with one more modality or of other organs, keep their random
    values; the rest is taken over (transfer learning).

    Args:
        network: new.
        init_from: file of weights; None for a training from scratch.

    Raises:
        CaseError: for a file that holds no tensor that fits.
    """
    if not init_from:
        return network
    given = read_tensors(Path(init_from))
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise CaseError(init_from, "holds no weights of this network", "give a model.pt of han_segmentation")
    network.load_state_dict({**own, **fitting})
    return network
