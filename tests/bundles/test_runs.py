"""Train, resume, infer, evaluate: from the bundle folder, from another folder and from an unzipped package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.bundles.conftest import EPOCHS, Bundle, Inferred, Run
from tests.bundles.processes import run_bundle
from tests.bundles.spec import BundleSpec, Data


def tensors(content: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """All tensors inside nested dicts and lists, by their path."""
    if isinstance(content, torch.Tensor):
        return {prefix: content}
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return {k: v for key, value in pairs for k, v in tensors(value, f"{prefix}/{key}").items()}


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    return tensors(torch.load(path, map_location="cpu", weights_only=True))


def assert_same_tensors(a: Path, b: Path) -> None:
    first, second = load_tensors(a), load_tensors(b)
    assert list(first) == list(second)
    assert [k for k in first if not torch.equal(first[k], second[k])] == []


def metric(spec: BundleSpec, output: Path) -> float:
    """The main figure of an evaluation."""
    value = json.loads((output / "metrics.json").read_text())
    for key in spec.metric:
        value = value[key]
    return float(value)


def check_results(spec: BundleSpec, output: Path, cases: tuple[str, ...]) -> None:
    """Exactly the promised files, each of the promised form."""
    promised = {name.format(case=case) for name in spec.results for case in cases} | set(spec.run_results)
    assert {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()} == promised
    for case in cases:
        for name in (n.format(case=case) for n in spec.results if n.endswith(".json")):
            spec.check_result(json.loads((output / name).read_text()))
        with Image.open(output / spec.preview.format(case=case)) as picture:
            assert min(picture.size) >= 100 and np.asarray(picture.convert("L")).std() > 5, "the preview is empty"


def test_training_writes_what_it_promises(bundle: Bundle, unbroken: Run) -> None:
    written = {p.name for p in unbroken.output.rglob("*") if p.is_file()}
    assert {"model.pt", "checkpoint_last.pt", "curves.png"} <= written
    assert any(p.suffix == ".png" for p in (unbroken.output / "worst_cases").iterdir())
    assert [n for n in written if n.startswith(".") or "part" in n or "tmp" in n] == []
    assert re.search(r"\d+%\|", unbroken.log), "no progress bar"


def test_best_weights_fit_inference_as_a_plain_state_dict(bundle: Bundle, unbroken: Run) -> None:
    weights = torch.load(unbroken.best, map_location="cpu", weights_only=True)
    shipped = torch.load(bundle.path / "models" / "model.pt", map_location="cpu", weights_only=True)
    assert list(weights) == list(shipped)


def test_tensorboard_has_loss_and_metric(bundle: Bundle, unbroken: Run) -> None:
    folders = {p.parent for p in unbroken.output.rglob("events.out.tfevents.*")}
    counts: dict[str, int] = {}
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        counts.update({tag: len(events.Scalars(tag)) for tag in events.Tags()["scalars"]})
    assert all(counts.get(tag, 0) >= EPOCHS for tag in bundle.spec.tensorboard), counts


def test_killed_training_resumes_to_the_same_weights(unbroken: Run, killed: Run) -> None:
    assert_same_tensors(unbroken.last, killed.last)
    assert_same_tensors(unbroken.best, killed.best)


def test_training_stops_early(bundle: Bundle, data: Data, work: Path) -> None:
    epochs = 30
    options = {**bundle.spec.train, **data.train, **bundle.spec.early_stop, "epochs": epochs}
    run_bundle(bundle.path, "train", {**options, "output_dir": work / "early"}, cwd=work)
    assert epochs_done(work / "early") < epochs


def epochs_done(output: Path) -> int:
    """Number of epochs that the last checkpoint has seen."""
    return torch.load(output / "checkpoint_last.pt", map_location="cpu", weights_only=True)["trainer"]["epoch"]


def steps_done(output: Path) -> int:
    """Number of optimizer steps that the last checkpoint has seen."""
    state = torch.load(output / "checkpoint_last.pt", map_location="cpu", weights_only=True)["optimizer"]["state"]
    return int(max(s["step"] for s in state.values()))


def test_inference_from_the_bundle_folder(bundle: Bundle, data: Data, inferred: Inferred) -> None:
    check_results(bundle.spec, inferred.output, data.cases)
    assert re.search(r"\d+%\||\d+/\d+", inferred.log), "no progress bar"


def test_evaluation_writes_metrics(bundle: Bundle, evaluated: Inferred) -> None:
    assert np.isfinite(metric(bundle.spec, evaluated.output))
    assert (evaluated.output / "metrics.csv").read_text().count("\n") >= 2


def test_another_folder(bundle: Bundle, data: Data, killed: Run, inferred: Inferred, evaluated: Inferred) -> None:
    """Inference and evaluation from elsewhere give the very results of the bundle folder."""
    elsewhere = killed.output.parent / "else where"
    options = {"ckpt_path": killed.best, "output_dir": elsewhere / "inferred"}
    run_bundle(bundle.path, "inference", {**bundle.spec.inference, **data.inference, **options}, cwd=elsewhere)
    check_results(bundle.spec, elsewhere / "inferred", data.cases)
    for path in inferred.output.glob("*.json"):
        assert json.loads(path.read_text()) == json.loads((elsewhere / "inferred" / path.name).read_text())
    options["output_dir"] = elsewhere / "evaluated"
    run_bundle(bundle.path, "evaluate", {**bundle.spec.inference, **data.evaluate, **options}, cwd=elsewhere)
    assert metric(bundle.spec, elsewhere / "evaluated") == metric(bundle.spec, evaluated.output)


def test_unzipped_package(bundle: Bundle, data: Data, package: Path, work: Path) -> None:
    """The whole chain from what leaves the repository; training goes on from a named checkpoint."""
    output = work / "package"
    train = {**bundle.spec.train, **data.train, "output_dir": output / "train"}
    run_bundle(package, "train", {**train, "epochs": 2}, fresh=True)
    assert epochs_done(output / "train") == 2
    run_bundle(package, "train", {**train, "epochs": 3, "resume": output / "train" / "checkpoint_last.pt"})
    assert epochs_done(output / "train") == 3
    weights = {"ckpt_path": output / "train" / "model.pt"}
    inference = {**bundle.spec.inference, **data.inference, **weights, "output_dir": output / "inferred"}
    run_bundle(package, "inference", inference)
    check_results(bundle.spec, output / "inferred", data.cases)
    evaluate = {**bundle.spec.inference, **data.evaluate, **weights, "output_dir": output / "evaluated"}
    run_bundle(package, "evaluate", evaluate)
    assert np.isfinite(metric(bundle.spec, output / "evaluated"))


def test_runs_leave_the_bundle_as_it_is(bundle: Bundle, unbroken: Run, inferred: Inferred, evaluated: Inferred) -> None:
    start = min(p.stat().st_mtime for p in unbroken.output.rglob("*"))
    content = (p for p in bundle.path.rglob("*") if p.is_file() and "scripts" not in p.parts)
    assert [str(p) for p in content if p.stat().st_mtime > start] == []
