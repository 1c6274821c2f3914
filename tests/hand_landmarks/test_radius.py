"""The radius that holds nine of ten points, calibrated on an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bundles.hand_landmarks.scripts.landmark_set import read_landmark_set
from bundles.hand_landmarks.scripts.radius import (
    calibrate,
    fingerprint,
    fit_radius,
    left_out_coverage,
    radius_mm,
    read_calibration,
)
from bundles.hand_landmarks.scripts.results import HandResultd
from shared.io.errors import CaseError
from tests.hand_landmarks.test_results import images

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "hand_landmarks"


def drawn(images_count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Errors and confidences of landmarks that differ in size, and whose errors grow as the confidence falls."""
    rng = np.random.default_rng(seed)
    confidence = np.exp(rng.normal(-0.3, 0.3, (images_count, 37)).clip(max=0))
    size = np.linspace(0.3, 1.5, 37) * confidence**-0.8
    return np.linalg.norm(rng.normal(size=(images_count, 37, 2)), axis=2) * size, confidence


def test_radius_holds_nine_of_ten_points_of_other_images() -> None:
    calibration = fit_radius(*drawn(60))
    errors, confidence = drawn(400, seed=1)
    inside = errors <= radius_mm(confidence, calibration)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    for part in (inside[:, :12], inside[:, -12:], inside[confidence < 0.6], inside[confidence > 0.9]):
        assert part.mean() == pytest.approx(0.9, abs=0.05)
    assert left_out_coverage(*drawn(60)) == pytest.approx(0.9, abs=0.03)


def test_command_and_what_it_refuses(tmp_path: Path) -> None:
    errors, confidence = drawn(8)
    cases = [{"errors_mm": e.tolist(), "confidence": c.tolist()} for e, c in zip(errors, confidence, strict=True)]
    (tmp_path / "metrics.json").write_text(json.dumps({"cases": cases}))
    network, other = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    weights, file = str(tmp_path / "model.pt"), tmp_path / "radius.json"
    calibrate(str(tmp_path / "metrics.json"), weights, str(file))
    calibration = read_calibration(file, network, 37)
    assert calibration is not None and np.isfinite(radius_mm(confidence, calibration)).all()
    assert read_calibration(file, torch.jit.script(network), 37) == calibration
    assert read_calibration(file, other, 37) is None and read_calibration(tmp_path / "none.json", network, 37) is None
    with pytest.raises(CaseError, match="is no calibration of 20 landmarks"):
        read_calibration(file, network, 20)
    (tmp_path / "few.json").write_text(json.dumps({"cases": cases[:4]}))
    with pytest.raises(CaseError, match="has 4 images"):
        calibrate(str(tmp_path / "few.json"), weights, str(tmp_path / "out.json"))
    with pytest.raises(CaseError, match="is no metrics.json"):
        calibrate(str(tmp_path / "none.json"), weights, str(tmp_path / "out.json"))


def test_radius_is_in_the_result_and_in_millimetres_of_the_file() -> None:
    """Calibrated on hands whose wrist counts as 50 mm: a wrist that measures half of that has half the radius."""
    hand = read_landmark_set()
    shipped = json.loads((BUNDLE / "models" / "model_radius.json").read_text())
    by_size, data = HandResultd(hand, calibration=shipped)(images())["result"], images(spacing=0.25)
    measured = HandResultd(hand, calibration=shipped)(data)["result"]
    ratio = 0.25 / by_size["mm_per_pixel"][0]
    for a, b in zip(by_size["landmarks"], measured["landmarks"], strict=True):
        assert 0.2 < a["radius_90_mm"] < 5 and b["radius_90_mm"] == pytest.approx(a["radius_90_mm"] * ratio, abs=0.02)
    data = images()
    data["pred"][20, 2] = 0.1
    unsure = HandResultd(hand, calibration=shipped)(data)["result"]["landmarks"][20]
    assert unsure["radius_90_mm"] > 3 * by_size["landmarks"][20]["radius_90_mm"]
    assert "radius_90_mm" not in HandResultd(hand)(images())["result"]["landmarks"][0]


def test_shipped_calibration_holds_what_the_card_says() -> None:
    shipped = json.loads((BUNDLE / "models" / "model_radius.json").read_text())
    weights = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    assert shipped["weights"] == fingerprint(weights)
    coverage = shipped["left_out_coverage"]
    assert 0.87 <= coverage <= 0.93
    assert f"{coverage:.1%}".replace("%", " %") in (BUNDLE / "docs" / "README.md").read_text()
