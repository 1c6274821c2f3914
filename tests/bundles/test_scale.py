"""Two processes (CPU, gloo) share the work, give what one process gives, and write nothing twice.

For one bundle of X-rays and one of volumes torchrun starts them, for the others the server of `processes`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.bundles.conftest import EPOCHS, Bundle, Inferred, Run
from tests.bundles.processes import run_bundle
from tests.bundles.spec import Data
from tests.bundles.test_runs import check_results, epochs_done, metric, steps_done

PROCESSES = 2
TORCHRUN = ("hand_landmarks", "spine_localization")


@pytest.fixture(scope="module")
def trained(bundle: Bundle, data: Data, work: Path) -> Path:
    output = work / "two_trained"
    options = {**bundle.spec.train, **data.train, "epochs": 2, "output_dir": output, "tracking": "mlflow"}
    run_bundle(bundle.path, "multi_gpu_train", options, processes=PROCESSES, fresh=bundle.name in TORCHRUN)
    return output


def test_training_shares_the_images(trained: Path, unbroken: Run) -> None:
    assert epochs_done(trained) == 2
    alone, shared = steps_done(unbroken.output) // EPOCHS, steps_done(trained) // 2
    assert shared == -(-alone // PROCESSES)


def test_training_writes_once(trained: Path, unbroken: Run) -> None:
    def names(folder: Path) -> list[str]:
        files = (p.name for p in folder.rglob("*") if p.is_file() and not {"mlruns", "worst_cases"} & set(p.parts))
        # event files bear the time; the copy of the config, which MONAI would write in every process, is left out
        return sorted(re.sub(r"^events.*", "events", name) for name in files if not name.startswith("config_"))

    assert names(trained) == names(unbroken.output)
    client = MlflowClient(tracking_uri=f"sqlite:///{trained / 'mlruns.db'}")
    assert len(client.search_runs([e.experiment_id for e in client.search_experiments()])) == 1


def test_inference(bundle: Bundle, data: Data, unbroken: Run, inferred: Inferred, work: Path) -> None:
    output = work / "two_inferred"
    options = {**bundle.spec.inference, **data.inference, "ckpt_path": unbroken.best, "output_dir": output}
    log = run_bundle(bundle.path, "multi_gpu_inference", options, processes=PROCESSES, fresh=bundle.name in TORCHRUN)
    check_results(bundle.spec, output, data.cases)
    for path in inferred.output.glob("*.json"):
        assert json.loads(path.read_text()) == json.loads((output / path.name).read_text())
    assert log.count(f"{len(data.cases)} of {len(data.cases)} cases done") == 1, "cases were not shared"


def test_evaluation(bundle: Bundle, data: Data, unbroken: Run, evaluated: Inferred, work: Path) -> None:
    output = work / "two_evaluated"
    options = {**bundle.spec.inference, **data.evaluate, "ckpt_path": unbroken.best, "output_dir": output}
    run_bundle(bundle.path, "multi_gpu_evaluate", options, processes=PROCESSES, fresh=bundle.name in TORCHRUN)
    assert metric(bundle.spec, output) == pytest.approx(metric(bundle.spec, evaluated.output), rel=1e-6)
    one, two = (sorted(p.name for p in folder.iterdir()) for folder in (evaluated.output, output))
    assert one == two
