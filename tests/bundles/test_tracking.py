"""`--tracking mlflow` keeps parameters, curves, pictures and weights in a SQLite store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlflow.entities import Run as TrackedRun
from mlflow.tracking import MlflowClient

from tests.bundles.conftest import EPOCHS, Bundle, Run


@pytest.fixture(scope="module")
def client(unbroken: Run) -> MlflowClient:
    store = unbroken.output / "mlruns.db"
    assert store.is_file()
    return MlflowClient(tracking_uri=f"sqlite:///{store}")


@pytest.fixture(scope="module")
def tracked(client: MlflowClient) -> TrackedRun:
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len(runs) == 1, "training and its validation belong to one run"
    assert runs[0].info.status == "FINISHED"
    return runs[0]


def artifacts(client: MlflowClient, run_id: str, folder: str = "") -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from artifacts(client, run_id, entry.path)
        else:
            yield entry.path


def test_parameters(bundle: Bundle, tracked: TrackedRun) -> None:
    assert {"epochs", "batch_size", "learning_rate", "seed"} <= set(tracked.data.params)
    assert tracked.data.params["epochs"] == str(EPOCHS)
    for key in set(bundle.spec.train) & set(tracked.data.params):
        assert tracked.data.params[key] == str(bundle.spec.train[key])


def test_curves(client: MlflowClient, tracked: TrackedRun) -> None:
    lengths = {key: len(client.get_metric_history(tracked.info.run_id, key)) for key in tracked.data.metrics}
    assert len([key for key, length in lengths.items() if length >= EPOCHS]) >= 2, lengths  # loss and a metric


def test_pictures_and_weights(client: MlflowClient, tracked: TrackedRun) -> None:
    files = list(artifacts(client, tracked.info.run_id))
    assert any(f.endswith("model.pt") for f in files), files
    assert any(f.endswith("curves.png") for f in files), files
    assert any("worst_cases" in f and f.endswith(".png") for f in files), files
