"""Trainings that differ in one setting, as nested MLflow runs, and one table of what each reached on the same cases."""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from monai.utils import path_to_sqlite_uri

from .render_pairs import render_pairs
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.json_files import write_json

logger = logging.getLogger(__name__)

WITHOUT_CLUSTERS = {
    "lambda_cluster": 0.0,
    "lambda_purity": 0.0,
    "lambda_entropy": 0.0,
    "lambda_diversity": 0.0,
    "initial_clusters": "even",
}
GENERATOR = "network_def#generator"
# options of train.json by study and run
STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "clusters": {f"{k} clusters": {f"{GENERATOR}#num_clusters": k} for k in (16, 32, 64, 128, 256)},
    "position": {"with position": {}, "without position": {f"{GENERATOR}#use_position": False}},
    "lambda_cluster": {f"lambda_cluster {w}": {"lambda_cluster": w} for w in (0.0, 0.1, 0.3, 0.5, 1.0)},
    "baselines": {
        "generator": {},
        "plain encoder-decoder": {
            GENERATOR: {"_target_": "scripts.baselines.PlainGenerator", "volume_size": "@volume_size"},
            "lambda_uncertainty": 0.0,
            "evolution": False,
            **WITHOUT_CLUSTERS,
        },
        "without clustering": {f"{GENERATOR}#use_clustering": False, "evolution": False, **WITHOUT_CLUSTERS},
        "without position": {f"{GENERATOR}#use_position": False},
    },
}
COLUMNS = ("psnr", "psnr_x2ct", "ssim_3d", "ssim_slices", "mae_hu", "assignment_entropy", "cluster_separation")
OF_NETWORK = ("network_def", "volume_size", "spacing_mm", "geometry")  # options that evaluation needs as well


def chosen_runs(studies: Sequence[str], only: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Options of every run of some studies, by "study: run".

    Args:
        studies: names of `STUDIES`.
        only: names of the runs to take; all where None.

    Raises:
        CaseError: for an unknown study or run.
    """
    for name in studies:
        if name not in STUDIES:
            raise CaseError("--studies", f"knows no study {name!r}", f"name some of {', '.join(STUDIES)}")
    runs = {f"{study}: {run}": options for study in studies for run, options in STUDIES[study].items()}
    known = {name.split(": ", 1)[1] for name in runs}
    for name in only or ():
        if name not in known:
            raise CaseError("--only", f"knows no run {name!r}", f"name some of {', '.join(sorted(known))}")
    return {name: options for name, options in runs.items() if only is None or name.split(": ", 1)[1] in only}


def command_line(config_file: str, options: Mapping[str, Any]) -> list[str]:
    """A call of ``monai.bundle run``."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config_file]
    return command + [part for name, value in options.items() for part in (f"--{name}", str(value))]


def nest_runs(uri: str, experiment: str, names: Sequence[str]) -> str:
    """Put the finished MLflow runs of an experiment under one parent run; returns its id."""
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise CaseError(uri, f"holds no experiment {experiment}", "let the trainings log to MLflow")
    runs = client.search_runs([found.experiment_id])
    parent = next((run for run in runs if run.info.run_name == experiment), None)
    parent = parent or client.create_run(found.experiment_id, run_name=experiment)
    for run in runs:
        if run.info.run_name in names:
            client.set_tag(run.info.run_id, MLFLOW_PARENT_RUN_ID, parent.info.run_id)
    return str(parent.info.run_id)


def summary_row(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Row of the table: the figures of `COLUMNS` over all cases, of phantoms and of patients where there are both."""
    row: dict[str, Any] = {"run": name}
    for kind in ("", "phantoms", "patients"):
        figures = metrics.get(kind) if kind else metrics
        prefix = f"{kind}_" if kind else ""
        row |= {prefix + column: round(figures[column], 4) for column in COLUMNS if figures and column in figures}
    return row


def write_table(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """ablation.csv and ablation.json."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(folder / "ablation.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / "ablation.json", list(rows))


def run_ablation(
    output_dir: str | os.PathLike,
    studies: Sequence[str],
    train: Mapping[str, Any],
    test: Mapping[str, Any],
    evaluate: Mapping[str, Any],
    only: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Train and evaluate every run of some studies; a run that is done already is not done again.

    Args:
        output_dir: a folder for each run, the MLflow store ``mlruns.db``, ``ablation.csv`` and ``ablation.json``.
        studies: names of `STUDIES`.
        train: options of train.json that all runs share.
        test: arguments of `render_pairs`, which renders the X-rays of the evaluation.
        evaluate: options of evaluate.json that all runs share.
        only: names of the runs to take; all where None.

    Returns:
        the rows of the table, which is printed as well.

    Raises:
        CaseError: for an unknown study or run.
        subprocess.CalledProcessError: where a training or an evaluation fails.
    """
    folder = Path(output_dir).resolve()
    runs = chosen_runs(studies, only)
    uri, experiment = path_to_sqlite_uri(str(folder / "mlruns.db")), "xray_to_ct_ablation"
    folder.mkdir(parents=True, exist_ok=True)
    shared = {name: value for name, value in train.items() if value is not None}
    if not (folder / "test" / "truth").is_dir():
        render_pairs(str(folder / "test"), **test)
    rows = []
    for name, options in runs.items():
        place = folder / name.replace(": ", "_").replace(" ", "_")
        metrics = place / "eval" / "metrics.json"
        if not metrics.is_file():
            logging_options = {"tracking": "mlflow", "tracking_uri": uri, "experiment_name": experiment}
            own = {"output_dir": str(place), "resume": "auto", "run_name": name}
            cache = {"cache_dir": str(folder / "cache")}
            subprocess.run(
                command_line("configs/train.json", {**cache, **shared, **options, **own, **logging_options}), check=True
            )
            network = {key: value for key, value in {**shared, **options}.items() if key.startswith(OF_NETWORK)}
            pairs = {"dataset_dir": str(folder / "test" / "xrays"), "truth_dir": str(folder / "test" / "truth")}
            weights = {"ckpt_path": str(place / "model.pt"), "output_dir": str(metrics.parent), "save_maps": False}
            files = "['configs/inference.json','configs/evaluate.json']"
            subprocess.run(command_line(files, {**pairs, **evaluate, **network, **weights}), check=True)
        rows.append(summary_row(name, json.loads(metrics.read_text(encoding="utf-8"))["summary"]))
        write_table(rows, folder)
    nest_runs(uri, experiment, list(runs))
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    return rows
