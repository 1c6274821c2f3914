"""Does a linear decay of the learning rate help? Two trainings, tracked as two MLflow runs, and one figure.

    python -m scripts.ablation --dataset_dir DIR --output_dir DIR [--epochs 20 …]

Every other option goes to `train.json`. Run from the bundle folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient
from monai.utils import path_to_sqlite_uri

from .shared.engines.terminal import run_command
from .shared.pictures.files import save_picture
from .shared.pictures.plots import draw_curves

EXPERIMENT = "linear_decay"
RUNS = {"constant": False, "linear decay": True}
PANELS = {
    "train_loss": "loss",
    "pe_mm": "point error in mm",
    "ipe_px256": "IPE in px at 256",
    "outliers_10px256": "outliers beyond 10 px at 256",
}


def per_epoch(values: list[list[float]], epochs: int) -> list[list[float]]:
    """Means of each epoch of a series that was logged at every iteration; other series as they are.

    Args:
        values: (step, value) pairs.
        epochs: number of epochs of the training.
    """
    if len(values) <= epochs:
        return values
    steps = len(values) // epochs
    means = [sum(value for _, value in values[i * steps : (i + 1) * steps]) / steps for i in range(epochs)]
    return [[epoch + 1, mean] for epoch, mean in enumerate(means)]


def read_curves(uri: str) -> dict[str, dict[str, list[list[float]]]]:
    """(epoch, value) pairs of every metric of every run of the experiment."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    curves = {}
    for run in client.search_runs([experiment.experiment_id] if experiment else []):
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        epochs = int(run.data.params["epochs"])
        curves[run.info.run_name] = {
            name: per_epoch([[m.step, m.value] for m in points], epochs) for name, points in history.items()
        }
    return curves


def ablation(dataset_dir: str, output_dir: str, **options: Any) -> None:
    """Train with and without linear decay; write linear_decay.png and linear_decay.json, print the final figures.

    Args:
        dataset_dir: as for train.json.
        output_dir: of both trainings, the MLflow store mlruns.db and the figure.
        options: further options of train.json, such as epochs or phantoms, the same for both.
    """
    folder = Path(output_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    uri = path_to_sqlite_uri(str(folder / "mlruns.db"))
    for name, decay in RUNS.items():
        arguments = {
            "dataset_dir": str(Path(dataset_dir).resolve()),
            "output_dir": str(folder / name.replace(" ", "_")),
            "linear_decay": decay,
            "tracking": "mlflow",
            "tracking_uri": uri,
            "experiment_name": EXPERIMENT,
            "run_name": name,
            **options,
        }
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.json"]
        subprocess.run([*command, *(part for k, v in arguments.items() for part in (f"--{k}", str(v)))], check=True)
    curves = read_curves(uri)
    history = {f"{name}: {metric}": curves[name].get(metric, []) for name in RUNS for metric in PANELS}
    panels = {title: [f"{name}: {metric}" for name in RUNS] for metric, title in PANELS.items()}
    save_picture(draw_curves(history, panels), folder / "linear_decay.png")
    final = {
        name: {metric: curves[name][metric][-1][1] for metric in PANELS if curves[name].get(metric)} for name in RUNS
    }
    (folder / "linear_decay.json").write_text(json.dumps(final, indent=1) + "\n")
    print(json.dumps(final, indent=1))


if __name__ == "__main__":
    run_command(ablation)
