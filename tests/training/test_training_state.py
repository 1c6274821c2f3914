"""A training that is cut off and resumed ends like one that ran through."""

from __future__ import annotations

import json

import pytest
import torch
from ignite.engine import Events

from shared.io.errors import CaseError
from shared.training.training_state import plain_weights
from tests.tiny_training import TinyNetwork, Training


def assert_equal_state(first, second, path="state"):
    """Tensors bit for bit, everything else by ==."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_equal_state(first[key], second[key], f"{path}.{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), path
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_equal_state(one, other, f"{path}.{index}")
    else:
        assert first == second, path


class Killed(Exception):
    pass


def kill(*_):
    raise Killed


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    Training(folder).run()
    return folder


@pytest.mark.parametrize(
    "moment, num_workers", [("iteration", 0), ("iteration", 2), ("validation", 0), ("best", 0), ("epoch", 0)]
)
def test_a_killed_training_resumes_to_the_same_weights(tmp_path, unbroken, moment, num_workers):
    training = Training(tmp_path, num_workers=num_workers)
    engine, event = {
        "iteration": (training.trainer, Events.ITERATION_COMPLETED(once=11)),  # 4 iterations an epoch
        "validation": (training.evaluator, Events.ITERATION_COMPLETED),
        "best": (training.evaluator, Events.COMPLETED),
        "epoch": (training.trainer, Events.EPOCH_STARTED(once=4)),
    }[moment]
    engine.add_event_handler(event, lambda e: kill() if training.trainer.state.epoch >= 3 else None)
    with pytest.raises(Killed):
        training.run()
    assert torch.load(tmp_path / "checkpoint_last.pt")["trainer"]["epoch"] == (3 if moment == "epoch" else 2)

    torch.rand(7)  # the state of the generators must not matter
    resumed = Training(tmp_path, resume="auto", num_workers=num_workers).run()
    assert resumed.trainer.state.iteration == 16
    for name in ("checkpoint_last.pt", "model.pt"):
        assert_equal_state(torch.load(tmp_path / name), torch.load(unbroken / name))
    assert len(resumed.curves.history["train_loss"]) == len(resumed.curves.history["val_error"]) == 4
    assert not list(tmp_path.glob(".part-*"))


def test_the_number_of_workers_does_not_matter(tmp_path, unbroken):
    Training(tmp_path, num_workers=1).run()
    assert_equal_state(torch.load(tmp_path / "checkpoint_last.pt"), torch.load(unbroken / "checkpoint_last.pt"))


def test_a_longer_training_goes_on_from_a_finished_one(tmp_path, unbroken):
    Training(tmp_path, epochs=2).run()
    Training(tmp_path, epochs=4, resume=str(tmp_path / "checkpoint_last.pt")).run()
    assert_equal_state(torch.load(tmp_path / "checkpoint_last.pt"), torch.load(unbroken / "checkpoint_last.pt"))
    again = Training(tmp_path, epochs=4, resume="auto").run()  # nothing left to do
    assert again.trainer.state.epoch == 4
    assert_equal_state(again.network.state_dict(), torch.load(unbroken / "checkpoint_last.pt")["network"])


def test_the_best_weights_are_a_copy_of_those_of_the_best_epoch(tmp_path):
    training = Training(tmp_path, epochs=6)
    seen = {}

    @training.evaluator.on(Events.COMPLETED)
    def note(engine):
        seen[engine.state.epoch] = (engine.state.metrics["val_error"], plain_weights(training.network))

    training.run()
    best = min(seen, key=lambda epoch: seen[epoch][0])
    assert_equal_state(torch.load(tmp_path / "model.pt", weights_only=True), dict(seen[best][1]))
    assert torch.load(tmp_path / "checkpoint_last.pt")["evaluator"]["best_metric_epoch"] == best


def test_epochs_differ_and_seeds_matter(tmp_path, monkeypatch, unbroken):
    monkeypatch.setattr("tests.tiny_training.SEED", 4)
    Training(tmp_path).run()
    first, second = (torch.load(folder / "model.pt") for folder in (tmp_path, unbroken))
    assert not torch.equal(first["1.weight"], second["1.weight"])


def test_plain_weights_are_float32():
    weights = plain_weights(TinyNetwork().to(torch.bfloat16))
    assert weights["1.weight"].dtype == torch.float32 and weights["2.num_batches_tracked"].dtype == torch.int64


def test_early_stopping_goes_on_counting(tmp_path):
    training = Training(tmp_path, epochs=2)
    training.run()
    counter = torch.load(tmp_path / "checkpoint_last.pt")["early_stop"]
    assert counter.keys() >= {"counter", "best_score"} and counter["best_score"] is not None


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such weights file"),
        (b"text", "is not a file of plain tensors"),
        ({"a": 1}, "is no checkpoint to resume from"),
        ({"trainer": {"epoch": 1}, "network": {"a": torch.zeros(1)}}, "weights of another network"),
        ({"trainer": {"epoch": 1}, "network": TinyNetwork().state_dict()}, "of a training with other settings"),
    ],
)
def test_wrong_checkpoints_are_named(tmp_path, content, message):
    path = tmp_path / "other.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CaseError, match=message):
        Training(tmp_path, resume=str(path)).run()
    assert Training(tmp_path, epochs=1, resume="auto").run().trainer.state.epoch == 1


def test_folds_keep_their_files_apart(tmp_path):
    folds = [tmp_path / "checkpoints" / f"fold_{fold}" for fold in (0, 1)]
    Training(tmp_path, epochs=3, resume="auto", fold_dir=folds[0]).run()
    assert {p.name for p in folds[0].iterdir()} == {"best.pt", "latest.pt", "epoch_0002.pt", "history.json"}
    assert torch.load(folds[0] / "epoch_0002.pt")["trainer"]["epoch"] == 2
    assert_equal_state(torch.load(folds[0] / "best.pt"), torch.load(tmp_path / "model.pt"))
    other = Training(tmp_path, epochs=1, resume="auto", fold_dir=folds[1]).run()  # starts anew, beside the first fold
    assert other.trainer.state.epoch == 1
    assert torch.load(folds[0] / "latest.pt")["trainer"]["epoch"] == 3
    assert Training(tmp_path, epochs=4, resume="auto", fold_dir=folds[0]).run().trainer.state.epoch == 4
    history = json.loads((folds[0] / "history.json").read_text())
    assert [epoch for epoch, _ in history["train_loss"]] == [1, 2, 3, 4]


def test_a_training_starts_from_given_weights(tmp_path, unbroken):
    given = unbroken / "model.pt"
    seen = {}
    training = Training(tmp_path, epochs=1, init_from=str(given))
    training.trainer.add_event_handler(
        Events.ITERATION_STARTED(once=1), lambda _: seen.update(plain_weights(training.network))
    )
    training.run()
    assert_equal_state(seen, torch.load(given))
    last = torch.load(tmp_path / "checkpoint_last.pt")["network"]
    assert not torch.equal(last["1.weight"], seen["1.weight"])  # and goes on from there

    resumed = Training(tmp_path, epochs=1, resume="auto", init_from=str(given)).run()  # the checkpoint counts more
    assert_equal_state(plain_weights(resumed.network), last)

    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CaseError, match="weights of another network.*--init_from"):
        Training(tmp_path / "new", init_from=str(tmp_path / "other.pt")).run()
