"""What counts as better, and the score of early stopping that rises with it."""

from __future__ import annotations

import pytest
from ignite.engine import Engine

from shared.training.key_metric import higher_is_better, stop_score


def test_the_key_metric_counts_and_higher_is_better():
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.metrics, evaluator.state.key_metric_name = {"dice": 0.7, "error": 4.0}, "dice"
    assert stop_score("higher")(evaluator) == 0.7
    evaluator.state.key_metric_name = "error"
    assert stop_score("lower")(evaluator) == -4.0
    with pytest.raises(ValueError, match="'higher' or 'lower'"):
        stop_score("more")


def test_nan_is_worse_than_any_number():
    nan = float("nan")
    assert higher_is_better(0.2, 0.1) and not higher_is_better(0.1, 0.2) and not higher_is_better(0.1, 0.1)
    assert higher_is_better(0.0, nan) and not higher_is_better(nan, 0.0)
