import numpy as np
import pytest

from shared.io.errors import CaseError
from shared.phantoms.torso.spine_curve import STEP_MM
from shared.spine.chains import RULES, ChainCosts, step_costs, transitions
from shared.spine.labels import SPINE_LABELS
from shared.spine.statistics import (
    SHIPPED,
    TABLE_LABELS,
    USUAL,
    learn_statistics,
    load_statistics,
    main,
    read_table,
    write_statistics,
)

from .simulated import phantom_spine

COSTS = ChainCosts(**RULES["costs"])


def table(count: int = 30) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.full((count, len(TABLE_LABELS), 3), np.nan)
    for row in centres:
        spine = phantom_spine(rng, frozenset({"L6"}))
        row[:25] = [spine[label] for label in range(1, 26)]
    return centres


def test_learned_steps_are_those_of_the_table():
    centres = table()
    found = learn_statistics(centres)
    offsets = centres[:, 20] - centres[:, 19]
    np.testing.assert_allclose(found.step(20, 21).mean_mm[1:], offsets.mean(axis=0)[1:])
    assert found.step(20, 21).mean_mm[0] == pytest.approx(0, abs=1e-9)  # left and right are alike
    assert found.step(20, 21).count == 30
    two = found.path((20, 21, 22))
    np.testing.assert_allclose(two.mean_mm, found.step(20, 21).mean_mm + found.step(21, 22).mean_mm)


def test_files_come_back(tmp_path):
    found = learn_statistics(table())
    write_statistics(found, tmp_path / "s.json")
    again = load_statistics(tmp_path / "s.json")
    assert again.steps.keys() == found.steps.keys()
    np.testing.assert_allclose(again.step(5, 6).covariance_mm2, found.step(5, 6).covariance_mm2, atol=1e-3)
    with pytest.raises(CaseError, match="no spine statistics"):
        load_statistics(tmp_path / "other.json")


def test_command_reads_a_table_in_lps(tmp_path):
    centres = table(6)
    lines = [
        ",".join([f"case{index}", *(f"{value:.4f}" for value in (row * [-1, -1, 1]).ravel())])
        for index, row in enumerate(centres)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    np.testing.assert_allclose(read_table(tmp_path / "t.csv"), centres, atol=1e-3)
    main(str(tmp_path / "t.csv"), str(tmp_path / "s.json"))
    assert load_statistics(tmp_path / "s.json").step(1, 2).count == 6
    (tmp_path / "t.csv").write_text("case,1,2\n")
    with pytest.raises(CaseError, match="no table of body centres"):
        read_table(tmp_path / "t.csv")


def test_shipped_statistics_are_anatomy():
    steps = load_statistics(SHIPPED)
    lengths = [float(np.linalg.norm(steps.step(upper, upper + 1).mean_mm)) for upper in range(1, 25)]
    np.testing.assert_allclose(lengths, STEP_MM, atol=3)  # the phantoms follow the same source
    for step in steps.steps.values():
        assert step.mean_mm[2] < 0 and (np.linalg.eigvalsh(step.covariance_mm2) > 0).all()


def test_transitions_cover_variants_and_gaps():
    found = {step.labels: step for step in transitions(load_statistics(), COSTS)}
    assert all(pair in found for pair in zip(USUAL[:-1], USUAL[1:], strict=True))
    assert found[18, 20].cost > 0 and found[18, 19, 20].cost == pytest.approx(COSTS.missed)
    assert found[19, 28].cost > 0 and found[28, 20].cost == 0
    assert (19, 28, 20) not in found and (24, 25, SPINE_LABELS["sacrum"]) not in found  # rare ones are never presumed
    assert max(len(labels) for labels in found) == 2 + COSTS.most_missed


def test_cost_of_a_step_grows_with_its_deviation():
    step = next(step for step in transitions(load_statistics(), COSTS) if step.labels == (21, 22))
    places = np.stack([step.step.mean_mm, step.step.mean_mm + [0, 6, 0], step.step.mean_mm + [0, 0, -60]])
    costs = step_costs(step, np.zeros((1, 3)), places, COSTS)[0]
    assert costs[0] < costs[1] < 1 and np.isinf(costs[2])
    shares = np.array([0.4, 0.8, 1.2, 1.7])[:, None] * step.step.mean_mm
    possible = np.isfinite(step_costs(step, np.zeros((1, 3)), shares, COSTS)[0])
    assert possible.tolist() == [False, True, True, False]
