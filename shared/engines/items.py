"""What an engine holds about each item of the batch just processed."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine


def iteration_items(engine: Engine) -> list[dict[str, Any]]:
    """Input and output of each item of a decollated iteration, as one dictionary each.

    MONAI keeps what a case came with in ``state.batch`` and what was computed in ``state.output``. The list is empty
    for a case that failed.
    """
    output = engine.state.output
    batch = engine.state.batch
    if not isinstance(output, list) or not isinstance(batch, list):
        raise ValueError("the engine has to decollate its batches")
    return [{**inputs, **outputs} for inputs, outputs in zip(batch, output, strict=True)]
