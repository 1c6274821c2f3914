"""Pictures of a training: curves of loss and metrics, the worst cases of each validation."""

from __future__ import annotations

import heapq
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..engines.items import iteration_items
from ..engines.parallel import gather, rank
from ..io.atomic import atomic_path
from .files import save_picture

TRAIN_LOSS = "train_loss"
WIDE_RANGE = 50.0  # ratio of largest to smallest value from which on a curve is drawn on a logarithmic axis


def draw_curves(history: Mapping[str, Sequence[Sequence[float]]], panels: Mapping[str, Sequence[str]]) -> Figure:
    """Curves over epochs.

    Args:
        history: (epoch, value) pairs of each series.
        panels: names of the series drawn together, under their title; series without points are left out.
    """
    shown = {title: [name for name in names if history.get(name)] for title, names in panels.items()}
    shown = {title: names for title, names in shown.items() if names}
    columns = min(3, max(1, math.ceil(math.sqrt(len(shown)))))
    rows = math.ceil(max(1, len(shown)) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    for index, (title, names) in enumerate(shown.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        values: list[float] = []
        for name in names:
            epochs, series = zip(*history[name], strict=True)
            axes.plot(epochs, series, marker="." if len(epochs) < 40 else None, label=name)
            values += [value for value in series if math.isfinite(value)]
        if values and min(values) > 0 and max(values) > WIDE_RANGE * min(values):
            axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend()
    return figure


class CurvePlot:
    """Picture of the loss and the validation metrics of each epoch, drawn anew after every epoch.

    Has a state, so that a resumed training goes on with its curves.

    Args:
        path: of the PNG.
        evaluator: the validation, whose scalar metrics are drawn.
        panels: title and names of the series of each panel: "train_loss" and the names of metrics. Where None, all
            series whose name ends in "loss" share one panel and each other has its own.
        history_path: JSON of the (epoch, value) pairs of every series, if wanted.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        evaluator: Engine | None = None,
        panels: Mapping[str, Sequence[str]] | None = None,
        history_path: str | os.PathLike | None = None,
    ) -> None:
        self.path, self.evaluator, self.panels = Path(path), evaluator, panels
        self.history_path = history_path
        self.history: dict[str, list[list[float]]] = {}
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)
        engine.add_event_handler(Events.COMPLETED, self.draw)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self.note_metrics)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.history = {name: [list(pair) for pair in series] for name, series in state["history"].items()}

    def start_epoch(self, engine: Engine) -> None:
        self.losses = []

    def note_loss(self, engine: Engine) -> None:
        output: Any = engine.state.output
        self.losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))

    def add(self, name: str, epoch: int, value: float) -> None:
        """Add a point; one of the same epoch is replaced."""
        series = self.history.setdefault(name, [])
        series[:] = [pair for pair in series if pair[0] != epoch] + [[epoch, value]]

    def end_epoch(self, engine: Engine) -> None:
        if self.losses:
            self.add(TRAIN_LOSS, engine.state.epoch, sum(self.losses) / len(self.losses))
        self.draw(engine)

    def note_metrics(self, engine: Engine) -> None:
        for name, value in engine.state.metrics.items():
            if isinstance(value, (int, float)):
                self.add(name, engine.state.epoch, float(value))

    def draw(self, engine: Engine) -> None:
        if rank() > 0 or not self.history:
            return
        losses = [name for name in self.history if name.endswith("loss")]
        default = {"loss": losses} | {name: [name] for name in self.history if name not in losses}
        save_picture(draw_curves(self.history, self.panels or default), self.path)
        if self.history_path is not None:
            with atomic_path(self.history_path) as path:
                path.write_text(json.dumps(self.history))


class WorstCases:
    """Picture of the worst cases of each validation, ``epoch_0001.png`` and so on.

    Args:
        output_dir: folder of the pictures.
        draw: draws one item, the input and output of a case in one dictionary, into axes.
        score: how bad an item is, higher is worse; items of score NaN are never shown.
        count: how many are drawn.
        columns: pictures per row.
        keys: entries of the items that ``draw`` needs; all where None. Name them where volumes would fill the memory.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        draw: Callable[[Axes, dict[str, Any]], Any],
        score: Callable[[dict[str, Any]], float],
        count: int = 6,
        columns: int = 3,
        keys: Sequence[str] | None = None,
    ) -> None:
        self.output_dir, self.draw, self.score = Path(output_dir), draw, score
        self.count, self.columns, self.keys = count, columns, keys
        self.worst: list[tuple[float, int, dict[str, Any]]] = []  # a heap, the least bad first
        self.seen = 0

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator of a training."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        self.worst, self.seen = [], 0

    def collect(self, engine: Engine) -> None:
        for item in iteration_items(engine):
            score = float(self.score(item))
            self.seen += 1
            if math.isnan(score) or (len(self.worst) == self.count and score <= self.worst[0][0]):
                continue
            kept = {
                key: value.detach().cpu() if isinstance(value, torch.Tensor) else value
                for key, value in item.items()
                if self.keys is None or key in self.keys
            }
            # The running number keeps the order and spares comparing items of equal score.
            entry = (score, -self.seen, kept)
            if len(self.worst) < self.count:
                heapq.heappush(self.worst, entry)
            else:
                heapq.heapreplace(self.worst, entry)

    def write(self, engine: Engine) -> None:
        worst = sorted(gather(self.worst), key=lambda entry: (-entry[0], -entry[1]))[: self.count]
        if rank() > 0 or not worst:
            return
        rows = math.ceil(len(worst) / self.columns)
        figure = Figure(figsize=(3.6 * min(self.columns, len(worst)), 3.9 * rows), layout="constrained")
        for index, (score, _, item) in enumerate(worst):
            axes = figure.add_subplot(rows, min(self.columns, len(worst)), index + 1)
            axes.set_title(f"{item.get('case', '')} {score:.2f}", fontsize=9)
            axes.set_axis_off()
            self.draw(axes, item)
        save_picture(figure, self.output_dir / f"epoch_{engine.state.epoch:04d}.png")
