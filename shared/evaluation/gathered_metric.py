"""Metrics of cases that are spread over processes."""

from __future__ import annotations

import torch
from monai.metrics import CumulativeIterationMetric

from ..engines.parallel import gather


class GatheredMetric(CumulativeIterationMetric):
    """MONAI's accumulating metric of which processes may hold different numbers of cases, also none."""

    def _sync(self) -> None:
        # MONAI gathers tensors and leaves out processes that hold none, for which the others then wait for ever
        if self._synced:
            return
        rows = gather([] if self._buffers is None else [row.cpu() for row in self._buffers[0]])
        self._synced_tensors = [torch.stack(rows)] if rows else None
        self._synced = True
