"""Errors of landmarks: distances, what is missed or spurious, fractions within radii.

A table of errors has one row per image and one column per landmark. Its entries are distances; ``+inf`` for a landmark
that is there but was not found (missed), ``-inf`` for one that was found but is not there (spurious), NaN for one that
is absent in both. Absent points are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler
from torch import Tensor

from ..engines.items import iteration_items
from ..geometry.frames import plain_tensor
from .gathered_metric import GatheredMetric

RADII_MM = (2.0, 4.0, 10.0)
FIGURES: dict[str, Callable[[np.ndarray], Any]] = {"mean": np.mean, "sd": np.std, "median": np.median, "max": np.max}


def point_errors(found: Tensor, truth: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Distances between points.

    Args:
        found: (..., K, D), NaN where absent.
        truth: (..., K, D), NaN where absent.
        scale: units of the result per unit of the points, one for all or one per image (...) or per axis (..., D).

    Returns:
        (..., K) float64 in the coding described above.
    """
    found, truth = torch.as_tensor(found).double(), torch.as_tensor(truth).double()
    scale = torch.as_tensor(scale, dtype=torch.float64)
    if scale.ndim in (0, found.ndim - 2):  # the same for all axes
        scale = scale[..., None]
    errors = ((found - truth) * scale[..., None, :]).norm(dim=-1)
    has_found, has_truth = (points.isfinite().all(dim=-1) for points in (found, truth))
    errors = errors.masked_fill(has_truth & ~has_found, torch.inf)
    return errors.masked_fill(has_found & ~has_truth, -torch.inf)


def as_table(errors: Tensor | np.ndarray) -> np.ndarray:
    """Errors as a float64 array; a single row becomes a table."""
    return np.atleast_2d(torch.as_tensor(errors).double().cpu().numpy())


def mean_error(errors: Tensor | np.ndarray) -> float:
    """Mean distance of the landmarks that are there and were found; NaN when there is none."""
    table = as_table(errors)
    return float(table[np.isfinite(table)].mean()) if np.isfinite(table).any() else float("nan")


def image_errors(errors: Tensor | np.ndarray) -> np.ndarray:
    """Mean distance (N,) in each image (image-wise point error); NaN for an image without any distance."""
    table = as_table(errors)
    counts = np.isfinite(table).sum(axis=1)
    sums = np.where(np.isfinite(table), table, 0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(table), np.nan), where=counts > 0)


def count_outliers(errors: Tensor | np.ndarray, radius: float) -> int:
    """Number of landmarks that are further off than the radius, missed ones included."""
    return int((as_table(errors) > radius).sum())


def fraction_within(errors: Tensor | np.ndarray, radius: float) -> float:
    """Fraction of the landmarks that are there found within the radius; NaN when there is none."""
    table = as_table(errors)
    present = table > -np.inf  # NaN is not
    return float((table[present] <= radius).mean()) if present.any() else float("nan")


def summarize_errors(
    errors: Tensor | np.ndarray, unit: str = "mm", radii: Sequence[float] = RADII_MM
) -> dict[str, float | int]:
    """Figures of a table of errors (N, K), named as in the literature (Payer et al., Medical Image Analysis 2019).

    Standard deviations are those of the population (divided by N). Distances count each landmark that is there and was
    found; outliers and fractions count missed ones as beyond every radius.

    Args:
        errors: the table.
        unit: of the distances and radii, part of the names of the figures.
        radii: for outliers and fractions.

    Returns:
        ``images``, ``landmarks`` (that are there), ``missed``, ``spurious``, ``pe_{mean,sd,median,max}_<unit>``
        (point error), ``ipe_{mean,sd,median,max}_<unit>`` (mean per image), and for each radius ``within_<r><unit>``,
        ``outliers_<r><unit>`` and ``outlier_rate_<r><unit>``.
    """
    table = as_table(errors)
    distances, images = table[np.isfinite(table)], image_errors(table)
    images = images[np.isfinite(images)]
    present = int((table > -np.inf).sum())
    summary: dict[str, float | int] = {
        "images": len(table),
        "landmarks": present,
        "missed": int(np.isposinf(table).sum()),
        "spurious": int(np.isneginf(table).sum()),
    }
    for name, values in (("pe", distances), ("ipe", images)):
        for figure, function in FIGURES.items():
            summary[f"{name}_{figure}_{unit}"] = float(function(values)) if len(values) else float("nan")
    for radius in radii:
        outliers = count_outliers(table, radius)
        summary[f"within_{radius:g}{unit}"] = fraction_within(table, radius)
        summary[f"outliers_{radius:g}{unit}"] = outliers
        summary[f"outlier_rate_{radius:g}{unit}"] = outliers / present if present else float("nan")
    return summary


class PointErrorMetric(GatheredMetric):
    """Accumulates a table of point errors over images and processes, and reduces it to one figure.

    Args:
        reduction: figure of a table of errors (N, K), such as :func:`mean_error`.
    """

    def __init__(self, reduction: Callable[[Tensor], float] = mean_error) -> None:
        super().__init__()
        self.reduction = reduction

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Errors (B, K) of points (B, K, D) already in the unit of the result."""
        if y is None:
            raise ValueError("the true points are needed")
        return point_errors(y_pred, y)

    def aggregate(self) -> float:
        """The figure of all images so far, NaN when there are none."""
        table = self.get_buffer()
        return float("nan") if table is None else self.reduction(table)


class PointError(IgniteMetricHandler):
    """Metric of an evaluator (``key_val_metric`` or ``additional_metrics``) that decollates its batches.

    Args:
        reduction: figure of the table of errors (N, K): :func:`mean_error`, or a partial of :func:`count_outliers` or
            :func:`fraction_within` with its radius, in the unit of the errors.
        found: key of the points (K, D), an input or output of the iteration, NaN where absent.
        truth: key of the true points (K, D).
        scale: key of the millimetres per unit of the points, a number or one per axis; None for no scaling.

    The table itself is in ``state.metric_details`` under the name of the metric.
    """

    def __init__(
        self,
        reduction: Callable[[Tensor], float] = mean_error,
        found: str = "points",
        truth: str = "landmarks",
        scale: str | None = None,
    ) -> None:
        super().__init__(metric_fn=PointErrorMetric(reduction), save_details=True)
        self.found, self.truth, self.scale = found, truth, scale

    def iteration_completed(self, engine: Engine) -> None:
        for item in iteration_items(engine):
            scale = torch.as_tensor(1.0 if self.scale is None else item[self.scale], dtype=torch.float64).cpu()
            points = [plain_tensor(item[key]).cpu() for key in (self.found, self.truth)]
            self.update([(values.double() * scale)[None] for values in points])


def lower_is_better(current: float, best: float) -> bool:
    """``metric_cmp_fn`` of an evaluator whose key metric is an error; NaN is worse than any number."""
    return not np.isnan(current) and (np.isnan(best) or current < best)
