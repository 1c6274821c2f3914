"""A tiny training with MONAI's engines, for the tests of handlers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import EarlyStopHandler, LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandGaussianNoised, RandShiftIntensityd, ScaleIntensityd

from shared.engines.inferers import AutocastInferer
from shared.evaluation.point_metrics import PointError, lower_is_better
from shared.pictures.plots import CurvePlot
from shared.training.seeding import EpochSampler, EpochSeed, SeededDataset
from shared.training.training_state import TrainingCheckpoint

SEED = 3


def points_of(network_output: torch.Tensor) -> torch.Tensor:
    """(B, 4) to two points (B, 2, 2)."""
    return network_output.reshape(-1, 2, 2)


class TinyNetwork(torch.nn.Sequential):
    """Two points of an image (B, 1, 6, 6), with dropout and running statistics."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Flatten(),
            torch.nn.Linear(36, 16),
            torch.nn.BatchNorm1d(16),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(16, 4),
            torch.nn.Unflatten(1, (2, 2)),
        )


def make_data(count: int, seed: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 6, 6, generator=generator)
    return [
        {"image": image, "label": points_of(image.flatten()[:4])[0], "case": f"case_{index}"}
        for index, image in enumerate(images)
    ]


class Training:
    """Everything of a training of ``epochs`` epochs into ``output_dir``, ready to run."""

    def __init__(
        self, output_dir: Path, epochs: int = 4, resume: str = "", num_workers: int = 0, handlers=(), val_handlers=(),
        fold_dir: Path | None = None, init_from: str | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(SEED)
        self.network = TinyNetwork()
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.02)
        scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.1, total_iters=4)
        # Flat, so that the data set caches what comes before the first random transform.
        transform = Compose(
            [
                ScaleIntensityd("image"),
                RandGaussianNoised("image", prob=0.8, std=0.1),
                RandShiftIntensityd("image", offsets=0.2, prob=0.7),
            ]
        )
        dataset = SeededDataset(make_data(11, 0), transform, SEED)
        self.evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=DataLoader(Dataset(make_data(4, 1)), batch_size=2),
            network=self.network,
            key_val_metric={"val_error": PointError(found="pred", truth="label")},
            metric_cmp_fn=lower_is_better,
            val_handlers=list(val_handlers),
        )
        history = None if fold_dir is None else fold_dir / "history.json"
        self.curves = CurvePlot(output_dir / "curves.png", self.evaluator, history_path=history)
        early_stop = EarlyStopHandler(50, lambda engine: -engine.state.metrics["val_error"])
        early_stop.attach(self.evaluator)
        checkpoint = TrainingCheckpoint(
            output_dir,
            self.network,
            self.optimizer,
            self.evaluator,
            resume,
            {"lr_scheduler": scheduler, "early_stop": early_stop, "curves": self.curves},
            fold_dir,
            keep_every=2,
            init_from=init_from,
        )
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=DataLoader(
                dataset, batch_size=3, sampler=EpochSampler(dataset, seed=SEED), num_workers=num_workers
            ),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=torch.nn.MSELoss(),
            inferer=AutocastInferer(amp=False),
            train_handlers=[
                checkpoint,  # first on purpose: the order of the list must not matter
                EpochSeed(SEED),
                LrScheduleHandler(scheduler, print_lr=False),  # type: ignore[arg-type]
                ValidationHandler(1, self.evaluator),
                self.curves,
                *handlers,
            ],
        )
        early_stop.set_trainer(self.trainer)

    def run(self) -> Training:
        self.trainer.run()
        return self
