"""Progress and tracking."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from monai.data import DataLoader
from monai.engines import IterationEvents
from monai.handlers import MLFlowHandler, from_engine
from monai.utils import path_to_sqlite_uri

from shared.engines.case_evaluator import CaseDataset, CaseEvaluator, CaseFailure, case_collate
from shared.engines.handlers import CaseProgress, ClipGradients, TrackArtifacts, ValidateEpochs
from tests.tiny_training import Training


def test_progress_counts_every_case_and_lets_lines_through(capsys):
    def transform(item):
        if item["case"] == "b":
            raise ValueError("bad")
        return item

    data = [{"image": torch.zeros(1, 2), "case": name} for name in "abc"]
    evaluator = CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(CaseDataset(data, transform), batch_size=1, collate_fn=case_collate),
        network=torch.nn.Identity(),
        val_handlers=[CaseProgress()],
    )
    evaluator.run()
    assert isinstance(evaluator.failures[0], CaseFailure)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "b: unexpected ValueError: bad; the log at level DEBUG shows where" in shown.splitlines()


@pytest.mark.filterwarnings("ignore")
def test_settings_pictures_and_weights_come_into_the_mlflow_run(tmp_path):
    def handlers():
        files = [tmp_path / "model.pt", tmp_path / "worst", tmp_path / "*.png", tmp_path / "absent"]
        return [
            TrackArtifacts(files, {"learning_rate": 0.02, "epochs": 2}),
            MLFlowHandler(  # as --tracking mlflow appends it
                tracking_uri=path_to_sqlite_uri(tmp_path / "mlruns.db"),
                output_transform=from_engine(["loss"], first=True),
                tag_name="train_loss",
                close_on_complete=True,
            ),
        ]

    (tmp_path / "worst").mkdir()
    (tmp_path / "worst" / "epoch_0001.png").write_bytes(b"x")
    Training(tmp_path, epochs=2, handlers=handlers()).run()

    client = MlflowClient(path_to_sqlite_uri(tmp_path / "mlruns.db"))
    experiment = client.get_experiment_by_name("monai_experiment")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["learning_rate"] == "0.02" and run.info.status == "FINISHED"
    assert "train_loss" in run.data.metrics
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {"model.pt", "worst", "curves.png"}
    assert [item.path for item in client.list_artifacts(run.info.run_id, "worst")] == ["worst/epoch_0001.png"]
    stored = torch.load(client.download_artifacts(run.info.run_id, "model.pt", str(tmp_path)), weights_only=True)
    torch.testing.assert_close(stored, torch.load(tmp_path / "model.pt"), rtol=0, atol=0)


def test_tracking_without_mlflow_does_nothing(tmp_path):
    Training(tmp_path, epochs=1, handlers=[TrackArtifacts([tmp_path / "model.pt"], {"a": 1})]).run()
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "checkpoint_last.pt", "curves.png"}


class StepEngine(Engine):
    """An engine with an optimizer that fires what MONAI's trainer fires after the gradient."""

    def __init__(self, network: torch.nn.Linear, factors: list[float]) -> None:
        super().__init__(self.step)
        self.network, self.factors = network, iter(factors)
        self.optimizer = torch.optim.SGD(network.parameters(), 1.0)
        self.register_events(*IterationEvents)

    def step(self, engine: Engine, batch: object) -> None:
        self.optimizer.zero_grad()
        (self.network(torch.ones(1, 4)) * next(self.factors)).sum().backward()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.optimizer.step()


def test_large_gradients_are_limited():
    network = torch.nn.Linear(4, 1, bias=False)
    before = network.weight.detach().clone()
    engine = StepEngine(network, [100.0])
    ClipGradients(network, 0.5).attach(engine)
    engine.run([0])
    assert float((network.weight - before).norm()) == pytest.approx(0.5, rel=1e-4)


def test_a_gradient_that_is_not_finite_changes_nothing(caplog):
    network = torch.nn.Linear(4, 1, bias=False)
    before = network.weight.detach().clone()
    seen: list[torch.Tensor] = []
    engine = StepEngine(network, [float("nan"), float("inf"), 1.0])
    ClipGradients(network, 10.0).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: seen.append(network.weight.detach().clone()))
    engine.run([0, 1, 2])
    assert torch.equal(seen[0], before) and "not finite" in caplog.text
    assert torch.allclose(network.weight, before - 1.0)


@pytest.mark.parametrize(("epochs", "interval", "expected"), [(5, 10, [5]), (6, 3, [3, 6]), (7, 3, [3, 6, 7])])
def test_validation_after_the_last_epoch_whatever_the_interval(epochs: int, interval: int, expected: list[int]) -> None:
    """With MONAI's handler a training of 5 epochs and an interval of 10 ends without a best network."""
    seen: list[int] = []

    class Validator(CaseEvaluator):
        def __init__(self) -> None:
            pass

        def run(self, global_epoch: int = 1) -> None:
            seen.append(global_epoch)

    engine = Engine(lambda engine, batch: None)
    ValidateEpochs(interval, Validator()).attach(engine)
    engine.run([0], max_epochs=epochs)
    assert seen == expected
