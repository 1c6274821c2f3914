"""Point errors against values worked out by hand, and as metric of a MONAI evaluator."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator

from shared.evaluation.point_metrics import (
    PointError,
    count_outliers,
    fraction_within,
    image_errors,
    lower_is_better,
    mean_error,
    point_errors,
    summarize_errors,
)

NAN = float("nan")
TRUTH = torch.tensor([[[0.0, 0], [10, 0], [0, 10], [NAN, NAN]], [[1, 1], [2, 2], [NAN, NAN], [NAN, NAN]]])
FOUND = torch.tensor([[[3.0, 4], [10, 1], [NAN, NAN], [5, 5]], [[1, 1], [2, 14], [NAN, NAN], [NAN, NAN]]])
ERRORS = np.array([[5, 1, np.inf, -np.inf], [0, 12, np.nan, np.nan]])


def test_errors_by_hand():
    np.testing.assert_allclose(point_errors(FOUND, TRUTH).numpy(), ERRORS)
    np.testing.assert_allclose(point_errors(FOUND, TRUTH, 0.5).numpy(), ERRORS / 2)


def test_scale_per_image_and_per_axis():
    np.testing.assert_allclose(point_errors(FOUND, TRUTH, torch.tensor([2.0, 3.0])).numpy(), ERRORS * [[2], [3]])
    per_axis = point_errors(FOUND, TRUTH, torch.tensor([[2.0, 1.0], [1.0, 0.5]]))
    np.testing.assert_allclose(per_axis[0, :2], [math.hypot(6, 4), 1])
    assert per_axis[1, 1] == 6


def test_summary_by_hand():
    summary = summarize_errors(ERRORS, "mm", (2, 10))
    expected = {
        "images": 2, "landmarks": 5, "missed": 1, "spurious": 1,
        "pe_mean_mm": 4.5, "pe_sd_mm": np.std([5, 1, 0, 12]), "pe_median_mm": 3, "pe_max_mm": 12,
        "ipe_mean_mm": 4.5, "ipe_sd_mm": 1.5, "ipe_median_mm": 4.5, "ipe_max_mm": 6,
        "within_2mm": 2 / 5, "outliers_2mm": 3, "outlier_rate_2mm": 3 / 5,
        "within_10mm": 3 / 5, "outliers_10mm": 2, "outlier_rate_10mm": 2 / 5,
    }  # fmt: skip
    assert summary == pytest.approx(expected)
    assert list(image_errors(ERRORS)) == [3, 6]
    assert summary["within_2mm"] + summary["outlier_rate_2mm"] == 1


def test_nothing_to_measure_is_nan():
    empty = np.full((2, 3), np.nan)
    summary = summarize_errors(empty)
    assert summary["landmarks"] == 0 and math.isnan(summary["pe_mean_mm"]) and math.isnan(summary["within_2mm"])
    assert math.isnan(mean_error(empty)) and math.isnan(fraction_within(empty, 2))
    assert summarize_errors(np.empty((0, 3)))["images"] == 0


def test_nan_is_never_better():
    assert lower_is_better(1, 2) and not lower_is_better(2, 1) and not lower_is_better(1, 1)
    assert lower_is_better(1, NAN) and not lower_is_better(NAN, 1) and not lower_is_better(NAN, NAN)


class FromImage(torch.nn.Module):
    """Gives the first landmark of the image it is shown, moved."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return FOUND[image.flatten(1)[:, 0].long()]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_metric_of_an_evaluator(batch_size):
    data = [{"image": torch.full((1, 2), index), "landmarks": TRUTH[index], "mm": 0.5 + index} for index in range(2)]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=FromImage(),
        key_val_metric={"pe_mm": PointError(found="pred", scale="mm")},
        additional_metrics={
            "pe_px": PointError(found="pred"),
            "outliers": PointError(functools.partial(count_outliers, radius=10), "pred", scale="mm"),
        },
        metric_cmp_fn=lower_is_better,
    )
    for _ in range(2):  # a second run starts from nothing
        evaluator.run()
        expected = {"pe_mm": (2.5 + 0.5 + 0 + 18) / 4, "pe_px": 4.5, "outliers": 2}
        assert evaluator.state.metrics == pytest.approx(expected)
    np.testing.assert_allclose(evaluator.state.metric_details["pe_px"], ERRORS)
    assert evaluator.state.best_metric == evaluator.state.metrics["pe_mm"]
