"""Every folder in bundles/ goes through the same tests; what is expensive is done once per bundle and session."""

from __future__ import annotations

import importlib
import signal
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.package import package_bundle
from tests.bundles.processes import TIMEOUT_S, Forked, bundle_command, run_bundle
from tests.bundles.spec import BundleSpec, Data

ROOT = Path(__file__).resolve().parent.parent.parent
BUNDLES = sorted(p.name for p in (ROOT / "bundles").iterdir() if (p / "configs").is_dir())
EPOCHS = 3
KILL_AFTER_S = (0.0, 0.3)  # after an epoch's checkpoint: as the next epoch begins, and inside it


@dataclass(frozen=True)
class Bundle:
    path: Path
    spec: BundleSpec = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Run:
    """A finished training: where it wrote, and what it printed."""

    output: Path
    log: str

    @property
    def best(self) -> Path:
        return self.output / "model.pt"

    @property
    def last(self) -> Path:
        return self.output / "checkpoint_last.pt"


@pytest.fixture(scope="session", params=BUNDLES)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    name = request.param
    if not (ROOT / "tests" / "bundles" / "specs" / f"{name}.py").is_file():
        pytest.fail(f"bundle {name} has no tests/bundles/specs/{name}.py", pytrace=False)
    return Bundle(ROOT / "bundles" / name, importlib.import_module(f"tests.bundles.specs.{name}").SPEC)


@pytest.fixture(scope="session")
def work(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(bundle.name)


@pytest.fixture(scope="session")
def data(bundle: Bundle, work: Path) -> Data:
    return bundle.spec.make_data(bundle.path, work / "data")


@pytest.fixture(scope="session")
def package(bundle: Bundle, work: Path) -> Path:
    """The bundle unzipped from its package, in a folder with a space in its name."""
    archive = package_bundle(bundle.path, work / "dist")
    with zipfile.ZipFile(archive) as z:
        z.extractall(work / "un zipped")
    return work / "un zipped" / bundle.name


@pytest.fixture(scope="session")
def unbroken(bundle: Bundle, data: Data, work: Path) -> Run:
    """Training from the bundle folder to the end, tracked with MLflow."""
    output = work / "unbroken"
    options = {**bundle.spec.train, **data.train, "epochs": EPOCHS, "output_dir": output, "tracking": "mlflow"}
    return Run(output, run_bundle(bundle.path, "train", options, fresh=True))


@pytest.fixture(scope="session")
def killed(bundle: Bundle, data: Data, work: Path) -> Run:
    """The same training from another folder, killed in two epochs at different moments, then resumed to its end."""
    output, elsewhere = work / "killed", work / "else where"
    elsewhere.mkdir()
    options = {**bundle.spec.train, **data.train, "epochs": EPOCHS, "output_dir": output, "resume": "auto"}
    for seconds in KILL_AFTER_S:
        command = bundle_command(bundle.path, "train", options, elsewhere=True)
        kill_after_checkpoint(command, elsewhere, output / "checkpoint_last.pt", seconds)
    return Run(output, run_bundle(bundle.path, "train", options, cwd=elsewhere))


def kill_after_checkpoint(command: list[str], cwd: Path, checkpoint: Path, seconds: float) -> None:
    """Starts a training and kills it (SIGKILL, with all its workers) some time after it has renewed its checkpoint."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    process = Forked(command, cwd)
    deadline = time.monotonic() + TIMEOUT_S
    while process.running() and time.monotonic() < deadline:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
            time.sleep(seconds)
            break
        time.sleep(0.01)
    process.kill()
    done = process.wait()
    assert done.returncode == -signal.SIGKILL, (
        f"ended with {done.returncode} before it was killed\n{done.stdout[-3000:]}"
    )


@dataclass(frozen=True)
class Inferred:
    """A finished inference: where it wrote, and what it printed."""

    output: Path
    log: str


@pytest.fixture(scope="session")
def inferred(bundle: Bundle, data: Data, unbroken: Run, work: Path) -> Inferred:
    """Inference from the bundle folder with the weights of `unbroken`."""
    output = work / "inferred"
    options = {**bundle.spec.inference, **data.inference, "ckpt_path": unbroken.best, "output_dir": output}
    return Inferred(output, run_bundle(bundle.path, "inference", options))


@pytest.fixture(scope="session")
def evaluated(bundle: Bundle, data: Data, unbroken: Run, work: Path) -> Inferred:
    """Evaluation from the bundle folder with the weights of `unbroken`."""
    output = work / "evaluated"
    options = {**bundle.spec.inference, **data.evaluate, "ckpt_path": unbroken.best, "output_dir": output}
    return Inferred(output, run_bundle(bundle.path, "evaluate", options))
