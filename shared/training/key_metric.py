"""The key metric of a validation: which value is better, and when a training stops early."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from ignite.engine import Engine


def stop_score(better: Literal["higher", "lower"]) -> Callable[[Engine], float]:
    """``score_function`` of MONAI's EarlyStopHandler: the key metric of the evaluator, so that higher is better.

    Args:
        better: "higher", or "lower" for a metric that is an error.

    Raises:
        ValueError: for anything else.
    """
    if better not in ("higher", "lower"):
        raise ValueError(f"better is {better!r}: 'higher' or 'lower'")
    sign = 1.0 if better == "higher" else -1.0

    def score(evaluator: Engine) -> float:
        name: str = evaluator.state.key_metric_name  # type: ignore[attr-defined]
        return sign * float(evaluator.state.metrics[name])

    return score


def higher_is_better(current: float, best: float) -> bool:
    """``metric_cmp_fn`` of an evaluator whose key metric is a score; NaN is worse than any number."""
    return not math.isnan(current) and (math.isnan(best) or current > best)
