"""Pictures of a training: what is shown, and that it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from PIL import Image

from shared.engines.case_evaluator import CaseDataset, CaseEvaluator, case_collate
from shared.pictures.plots import CurvePlot, WorstCases, draw_curves
from tests.tiny_training import Training


def test_curves_of_a_training(tmp_path):
    training = Training(tmp_path, epochs=3).run()
    history = training.curves.history
    assert [epoch for epoch, _ in history["train_loss"]] == [epoch for epoch, _ in history["val_error"]] == [1, 2, 3]
    assert history["val_error"][-1][1] == training.evaluator.state.metrics["val_error"]
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("L"))
    assert picture.shape[1] > picture.shape[0] and picture.std() > 5


def test_panels_and_axes():
    history = {
        "train_loss": [[1, 100.0], [2, 1.0]],
        "val_loss": [[1, 80.0], [2, float("nan")]],
        "ipe": [[1, 5.0], [2, 4.0]],
        "empty": [],
    }
    panels = {"Loss": ["train_loss", "val_loss"], "IPE (px)": ["ipe"], "none": ["empty", "unknown"]}
    axes = draw_curves(history, panels).axes
    assert [axis.get_title() for axis in axes] == ["Loss", "IPE (px)"]
    assert [axis.get_yscale() for axis in axes] == ["log", "linear"]
    assert len(axes[0].lines) == 2
    draw_curves({}, {})


def test_a_curve_goes_on_after_its_state_was_restored(tmp_path):
    first, second = CurvePlot(tmp_path / "a.png"), CurvePlot(tmp_path / "b.png")
    first.add("x", 1, 3.0)
    first.add("x", 2, 2.0)
    second.load_state_dict(first.state_dict())
    second.add("x", 2, 1.0)  # the epoch is done again
    assert second.history == {"x": [[1, 3.0], [2, 1.0]]} and first.history["x"][-1] == [2, 2.0]


@pytest.mark.parametrize("count", [2, 5])
def test_the_worst_cases_are_drawn_worst_first(tmp_path, count):
    values = [3.0, float("nan"), 1.0, 5.0, 5.0]
    data = [{"image": torch.full((1, 4, 4), value), "case": f"case_{index}"} for index, value in enumerate(values)]
    drawn = []

    def draw(axes, item):
        drawn.append((item["case"], axes.get_title()))
        assert set(item) == {"case", "pred"}
        axes.imshow(item["pred"][0].T, vmin=0, vmax=5)

    worst = WorstCases(
        tmp_path / "worst", draw, lambda item: float(item["pred"].max()), count, columns=2, keys=["case", "pred"]
    )
    evaluator = CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(CaseDataset(data), batch_size=1, collate_fn=case_collate),
        network=torch.nn.Identity(),
        val_handlers=[worst],
    )
    evaluator.run(7)
    expected = ["case_3 5.00", "case_4 5.00", "case_0 3.00", "case_2 1.00"][:count]
    assert [title for _, title in drawn] == expected
    assert Image.open(tmp_path / "worst" / "epoch_0007.png").size[0] > 100
    evaluator.run(8)
    assert len(drawn) == 2 * len(expected) and (tmp_path / "worst" / "epoch_0008.png").is_file()
