"""Saving a training after each epoch and going on from there; the best weights."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer
from monai.handlers import EarlyStopHandler

from ..engines.parallel import rank
from ..io.atomic import atomic_path
from ..io.errors import CaseError, one_line
from ..io.weights import describe_mismatch, load_weights, read_tensors

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"
BEST = "model.pt"
FOLD_LAST = "latest.pt"
FOLD_BEST = "best.pt"


def plain_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy of the weights on the CPU, floating-point ones as float32, without the wrapper of distributed training."""
    state = unwrap(network).state_dict()
    return {
        name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype, copy=True)
        for name, value in state.items()
    }


def unwrap(network: torch.nn.Module) -> torch.nn.Module:
    """The network inside DistributedDataParallel."""
    return network.module if isinstance(network, torch.nn.parallel.DistributedDataParallel) else network


def duplicate(source: Path, target: Path) -> None:
    """A second name for a file, a copy where the file system knows no links; the target is replaced as a whole."""
    with atomic_path(target) as path:
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)


def stateful(item: Any) -> Any:
    """The object that holds the state: MONAI's early stopping keeps that of ignite inside."""
    return item._handler if isinstance(item, EarlyStopHandler) else item


class TrainingCheckpoint:
    """Handler of a trainer: ``checkpoint_last.pt`` after each epoch, ``model.pt`` with the best weights, resuming.

    The checkpoint holds network, optimizer, gradient scaler, epoch, best metric and any other objects. Together with
    :mod:`shared.training.seeding` a training that was killed at any moment and resumed ends with the same weights, bit
    for bit, as one that ran through: the epoch that was cut off is done again. Files are whole or absent, and hold
    nothing but tensors and plain values.

    Args:
        output_dir: where both files go.
        network: trained network, also inside DistributedDataParallel.
        optimizer: of the training.
        evaluator: the validation: its best metric (``metric_cmp_fn``) decides on ``model.pt``. Without one, the last
            weights are the best.
        resume: path of a checkpoint to go on from; "auto" for the last one of ``output_dir`` if there is one; "" to
            start anew.
        objects: more with a state, such as the learning-rate scheduler, :class:`~shared.pictures.plots.CurvePlot`,
            MONAI's EarlyStopHandler.
        fold_dir: folder of one fold of a cross-validation, in which the files appear as ``latest.pt`` and ``best.pt``
            as well, and every ``keep_every`` epochs as ``epoch_0050.pt``. "auto" then resumes this fold.
        keep_every: epochs.
        init_from: weights that a new training starts from instead of random ones; a resumed one ignores them.

    Raises:
        CaseError: when the training starts, if the checkpoint is missing or of another training, or if the weights to
            start from are missing or of another network.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        evaluator: Evaluator | None = None,
        resume: str | os.PathLike | None = "",
        objects: Mapping[str, Any] | None = None,
        fold_dir: str | os.PathLike | None = None,
        keep_every: int = 50,
        init_from: str | os.PathLike | None = None,
    ) -> None:
        self.output_dir, self.network, self.evaluator = Path(output_dir), network, evaluator
        self.fold_dir = None if fold_dir is None else Path(fold_dir)
        self.keep_every = keep_every
        self.objects = {"optimizer": optimizer, **(objects or {})}
        self.resume, self.init_from = resume, init_from

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.start)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self.save_best)

    def start(self, engine: Trainer) -> None:
        # Registered this late, the saving comes after all other handlers of the end of an epoch: the validation, the
        # step of the learning rate, the curves.
        if not engine.has_event_handler(self.save, Events.EPOCH_COMPLETED):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        if rank() == 0:
            # what a training that was killed while it wrote has left behind
            for folder in (self.output_dir, self.fold_dir or self.output_dir):
                for remains in folder.glob(".part-*.pt"):
                    remains.unlink(missing_ok=True)
        self.restore(engine)

    def checkpoint_path(self) -> Path | None:
        """The checkpoint to go on from, or None."""
        if not self.resume:
            return None
        if self.resume == "auto":
            path = self.output_dir / LAST if self.fold_dir is None else self.fold_dir / FOLD_LAST
            return path if path.is_file() else None
        return Path(self.resume)

    def state(self, trainer: Trainer) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        state: dict[str, Any] = {
            "trainer": {"epoch": trainer.state.epoch},
            "network": unwrap(self.network).state_dict(),
        }
        if self.evaluator is not None:
            best = self.evaluator.state
            state["evaluator"] = {"best_metric": float(best.best_metric), "best_metric_epoch": best.best_metric_epoch}
        if trainer.scaler is not None:
            state["scaler"] = trainer.scaler.state_dict()
        return state | {name: stateful(item).state_dict() for name, item in self.objects.items()}

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoint of the epoch just completed."""
        if rank() > 0:
            return
        with atomic_path(self.output_dir / LAST) as path:
            torch.save(self.state(trainer), path)
        if self.fold_dir is not None:
            duplicate(self.output_dir / LAST, self.fold_dir / FOLD_LAST)
            if trainer.state.epoch % self.keep_every == 0:
                duplicate(self.output_dir / LAST, self.fold_dir / f"epoch_{trainer.state.epoch:04d}.pt")
        if self.evaluator is None:
            self.save_weights()

    def save_best(self, evaluator: Evaluator) -> None:
        """Write the weights if the validation just completed is the best so far."""
        if rank() == 0 and evaluator.state.best_metric_epoch == evaluator.state.epoch:
            self.save_weights()

    def save_weights(self) -> None:
        with atomic_path(self.output_dir / BEST) as path:
            torch.save(plain_weights(self.network), path)
        if self.fold_dir is not None:
            duplicate(self.output_dir / BEST, self.fold_dir / FOLD_BEST)

    def restore(self, trainer: Trainer) -> None:
        """Take over the checkpoint, if one is asked for."""
        path = self.checkpoint_path()
        if path is None:
            if self.init_from:
                load_weights(unwrap(self.network), self.init_from, "give --init_from the model.pt of such a training")
                logger.info("starts from the weights of %s", self.init_from)
            return
        state = read_tensors(path)
        advice = "give --resume a checkpoint_last.pt of this training, or start anew without it"
        if not isinstance(state, dict) or "trainer" not in state:
            raise CaseError(path, "is no checkpoint to resume from", advice)
        if problem := describe_mismatch(unwrap(self.network).state_dict(), state["network"]):
            raise CaseError(path, problem, advice)
        try:
            unwrap(self.network).load_state_dict(state["network"])
            for name, item in self.objects.items():
                stateful(item).load_state_dict(state[name])
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            problem = f"is of a training with other settings ({one_line(str(error))[:80]})"
            raise CaseError(path, problem, advice) from error
        if trainer.scaler is not None and "scaler" in state:
            trainer.scaler.load_state_dict(state["scaler"])
        if self.evaluator is not None and "evaluator" in state:
            self.evaluator.state.best_metric = state["evaluator"]["best_metric"]
            self.evaluator.state.best_metric_epoch = state["evaluator"]["best_metric_epoch"]
        trainer.state.epoch = state["trainer"]["epoch"]
        trainer.state.iteration = trainer.state.epoch * trainer.state.epoch_length
        logger.info("resumed after epoch %d from %s", trainer.state.epoch, path)
