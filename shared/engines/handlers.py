"""Handlers of engines: progress of an inference, pictures and weights for the MLflow run of a training."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.handlers import MLFlowHandler, ValidationHandler
from tqdm import tqdm

from .parallel import rank

logger = logging.getLogger(__name__)


class CaseProgress:
    """Progress bar of an evaluator over cases, on stderr, in the first process alone.

    Args:
        description: shown before the bar.
    """

    def __init__(self, description: str = "cases") -> None:
        self.description = description
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        if rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.advance)
        engine.add_event_handler(Events.COMPLETED, self.close)

    def start(self, engine: Engine) -> None:
        self.bar = tqdm(total=engine.state.epoch_length, desc=self.description, unit="case", file=sys.stderr)

    def advance(self, engine: Engine) -> None:
        if self.bar is not None:
            self.bar.update()

    def close(self, engine: Engine) -> None:
        if self.bar is not None:
            self.bar.close()


class ValidateEpochs(ValidationHandler):
    """Handler of a trainer that validates every so many epochs, and always after the last one.

    MONAI's own leaves a training without a best network whose epochs are fewer than the interval.
    """

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self.is_due), self)

    def is_due(self, engine: Engine, epoch: int) -> bool:
        """Whether an epoch is one to validate after."""
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs


class ClipGradients:
    """Handler of a trainer that limits the norm of the gradient before each step of the optimizer.

    A step whose gradient is not finite, which happens in reduced precision, is left out with a warning: one would spoil
    all weights for good.

    Args:
        network: whose gradient is limited.
        max_norm: largest Euclidean norm.
    """

    def __init__(self, network: torch.nn.Module, max_norm: float) -> None:
        self.network, self.max_norm = network, max_norm

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
        if not bool(torch.isfinite(norm)):
            optimizer: torch.optim.Optimizer = engine.optimizer  # type: ignore[attr-defined]
            optimizer.zero_grad(set_to_none=True)
            logger.warning("gradient not finite in iteration %d, step left out", engine.state.iteration)


def find_mlflow_handler(engine: Engine) -> MLFlowHandler | None:
    """The MLflow handler that ``--tracking mlflow`` has attached to an engine, or None."""
    for handler, *_ in engine._event_handlers[Events.STARTED]:  # ignite has no public list of handlers
        owner = getattr(handler, "__self__", None)
        if isinstance(owner, MLFlowHandler):
            return owner
    return None


class TrackArtifacts:
    """Adds settings, pictures and weights to the MLflow run of a trainer; does nothing where there is none.

    MONAI's own handler logs losses and metrics. Settings are logged when training starts, files when it ends, before
    MONAI closes the run, so this handler has to stand in the list of the trainer's handlers (to which MONAI appends).

    Args:
        files: files, folders or patterns such as ``worst_cases/*.png``; those that do not exist are left out.
        params: settings, logged as text; those that a resumed run already has stay as they are.
    """

    def __init__(self, files: Sequence[str | os.PathLike], params: Mapping[str, Any] | None = None) -> None:
        self.files, self.params = [str(path) for path in files], dict(params or {})

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED(once=1), self.log_params)
        engine.add_event_handler(Events.COMPLETED, self.log_files)

    def log_params(self, engine: Engine) -> None:
        """Log the settings that the run does not know yet; MLflow refuses to change one."""
        handler = find_mlflow_handler(engine)
        if handler is None or handler.cur_run is None:
            return
        run_id = handler.cur_run.info.run_id
        known = handler.client.get_run(run_id).data.params
        for name, value in self.params.items():
            if name not in known:
                handler.client.log_param(run_id, name, str(value))

    def log_files(self, engine: Engine) -> None:
        """Log the files, those of a folder under the name of the folder."""
        handler = find_mlflow_handler(engine)
        if handler is None or handler.cur_run is None:
            return
        run_id = handler.cur_run.info.run_id
        for pattern in self.files:
            for path in sorted(glob.glob(pattern)):
                if os.path.isdir(path):
                    handler.client.log_artifacts(run_id, path, os.path.basename(os.path.normpath(path)))
                else:
                    handler.client.log_artifact(run_id, path)
