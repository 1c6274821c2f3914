import time

import numpy as np
import pytest
import torch

from shared.geometry.heatmaps import gaussian_heatmaps
from shared.spine.candidates import CHANNELS, Candidate, find_candidates, merge_candidates
from shared.spine.chains import RULES
from shared.spine.field_of_view import FieldOfView
from shared.spine.labels import VERTEBRA_LABELS
from shared.spine.sequence import ChainCosts, label_spine
from shared.spine.statistics import load_statistics

from .simulated import SACRUM, Network, Scene, cut_range, hits, phantom_spine, scene, vertebra_names

STATISTICS = load_statistics()
PERFECT = Network(noise_mm=0.5, missing=0.0, false_per_label=0.0, near=1.0, far=1.0, tilt=0.0)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def candidates_of(points: dict[int, np.ndarray], score: float = 0.9) -> list[Candidate]:
    return [Candidate(label, point, score) for label, point in points.items()]


def between(spine: dict[int, np.ndarray], upper: str, lower: str) -> tuple[float, float]:
    """Range of z that shows two vertebrae and what lies between them."""
    return tuple(spine[VERTEBRA_LABELS[name]][2] + d for name, d in ((lower, -14.0), (upper, 14.0)))  # type: ignore


# --- candidates ----------------------------------------------------------------------------------------------------


def test_maxima_are_found_between_voxels():
    points = torch.tensor([[[10.3, 12.8, 20.45], [14.6, 9.1, 7.7]]])
    heatmaps = gaussian_heatmaps(points, (24, 24, 32), 1.6)[0] * torch.tensor([0.8, 0.4])[:, None, None, None]
    affine = np.diag([-4.0, -4.0, 4.0, 1.0])
    affine[:3, 3] = [50, 60, -70]
    found = find_candidates(heatmaps, affine, labels=(20, 21), peak=0.8)
    assert [candidate.label for candidate in found] == [20, 21]
    for candidate, point in zip(found, points[0].double().numpy(), strict=True):
        np.testing.assert_allclose(candidate.position_mm, affine[:3, :3] @ point + affine[:3, 3], atol=0.4)
    assert [c.score for c in found] == pytest.approx([1.0, 0.5], abs=0.08)  # between voxels


def test_several_maxima_of_one_label():
    points = torch.tensor([[[8.0, 8.0, 8.0], [8.0, 8.0, 16.0], [8.0, 8.0, 24.0]]])
    parts = gaussian_heatmaps(points, (17, 17, 33), 1.5)[0] * torch.tensor([0.3, 1.0, 0.05])[:, None, None, None]
    found = find_candidates(parts.sum(0, keepdim=True), np.diag([4.0, 4, 4, 1]), labels=(22,), min_score=0.1)
    assert [round(c.position_mm[2]) for c in found] == [64, 32]
    assert len(find_candidates(parts.sum(0, keepdim=True), np.eye(4), per_label=1, labels=(22,))) == 1


def test_flat_and_empty_heatmaps_have_no_candidate():
    assert find_candidates(torch.zeros(27, 4, 4, 4), np.eye(4)) == []
    with pytest.raises(ValueError, match="27 labels"):
        find_candidates(torch.zeros(26, 4, 4, 4), np.eye(4))


def test_candidates_of_several_labels_become_one_site():
    here, there = np.array([0.0, 0, 0]), np.array([0.0, 0, 20])
    sites = merge_candidates([Candidate(5, here, 0.5), Candidate(6, here + 3, 0.9), Candidate(6, there, 0.3)])
    assert [sorted(site.scores.items()) for site in sites] == [[(5, 0.5), (6, 0.9)], [(6, 0.3)]]
    np.testing.assert_allclose(sites[0].position_mm, here + 3 * 0.81 / 1.06, atol=1e-6)


# --- field of view -------------------------------------------------------------------------------------------------


def test_depths_of_an_oblique_field():
    turn = np.deg2rad(20)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]) * 2
    view = FieldOfView(affine, (10, 20, 30))
    corner = affine[:3, :3] @ [0, 0, 0]
    np.testing.assert_allclose(view.depths_mm(corner), [1, 1, 1])
    assert view.axial == 2 and view.end_depth_mm(affine[:3, :3] @ [5, 5, 10]) == pytest.approx(21)
    assert bool(view.sees(corner)) and not view.sees(corner, 2.0) and not view.sees(corner - 3)


# --- labelling -----------------------------------------------------------------------------------------------------


def test_a_perfect_spine():
    spine = phantom_spine(rng_of(0))
    result = label_spine(candidates_of(spine), STATISTICS)
    assert list(result.points) == [label for label in spine if label != SACRUM]
    assert result.anchors == ("C1", "C2", "last rib", "sacrum") and not result.uncertain and result.margin > 0.3
    np.testing.assert_allclose(result.sacrum, spine[SACRUM])
    np.testing.assert_allclose(result.points[20], spine[20])
    assert result.reasons == []


@pytest.mark.parametrize("anomaly", ["T13", "L6", "no_T12"])
def test_variants_are_found_and_said(anomaly):
    spine = phantom_spine(rng_of(1), frozenset({anomaly}))
    result = label_spine(candidates_of(spine), STATISTICS)
    assert set(result.points) == set(spine) - {SACRUM}
    assert {"T13": "T13 present", "L6": "L6 present", "no_T12": "T12 absent"}[anomaly] in result.reasons


def test_four_lumbar_vertebrae():
    spine = phantom_spine(rng_of(2))
    move = spine[24] - spine[23]
    four = {label: point for label, point in spine.items() if label != 24} | {SACRUM: spine[SACRUM] - move}
    result = label_spine(candidates_of(four), STATISTICS)
    assert set(result.points) == set(four) - {SACRUM} and "L5 absent" in result.reasons


def test_a_vertebra_that_is_not_seen_is_interpolated():
    spine = phantom_spine(rng_of(3))
    result = label_spine(candidates_of({k: p for k, p in spine.items() if k != 15}), STATISTICS)
    assert result.interpolated == (15,) and result.scores[15] == 0.0
    assert np.linalg.norm(result.points[15] - spine[15]) < 4
    assert any("interpolated: T8" in reason for reason in result.reasons)


@pytest.mark.parametrize("strength", [0.35, 0.6])
def test_weak_heatmaps_give_the_same_labels(strength):
    """Scores count relative to the clearest ones of the image; the reported ones stay as they are."""
    spine = phantom_spine(rng_of(13))
    noise = rng_of(130)
    found = [Candidate(label, p + noise.normal(0, 2, 3), strength * 0.9) for label, p in spine.items()]
    result = label_spine(found, STATISTICS)
    assert set(result.points) == set(spine) - {SACRUM} and not result.uncertain
    assert max(result.scores.values()) == pytest.approx(strength * 0.9)


def test_one_wrong_maximum_does_not_shift_the_rest():
    spine = phantom_spine(rng_of(4))
    found = [c for c in candidates_of(spine) if c.label != 14] + [Candidate(13, spine[14], 0.7)]
    assert set(label_spine(found, STATISTICS).points) == set(spine) - {SACRUM}


def test_heatmaps_off_by_one_are_pulled_right_by_the_anchors():
    spine = phantom_spine(rng_of(5))
    found = candidates_of({label: point for label, point in spine.items() if label not in range(10, 17)})
    for label in range(10, 17):  # the heatmaps of T3 to T9 answer one vertebra too high
        found += [Candidate(label + 1, spine[label], 0.6), Candidate(label, spine[label], 0.3)]
    assert set(label_spine(found, STATISTICS).points) == set(spine) - {SACRUM}


def test_far_false_maxima_are_left_out():
    spine = phantom_spine(rng_of(6))
    rng = rng_of(60)
    false = [
        Candidate(int(label), rng.uniform([40, 40, -300], [120, 120, 300]), 0.8) for label in rng.choice(19, 12) + 1
    ]
    result = label_spine(candidates_of(spine, 0.7) + false, STATISTICS)
    assert hits(result, {k: p for k, p in spine.items() if k != SACRUM}) == len(spine) - 1


def test_nothing_and_next_to_nothing():
    for candidates in ([], [Candidate(5, np.zeros(3), 0.05)]):
        result = label_spine(candidates, STATISTICS)
        assert result.points == {} and result.uncertain and result.reasons == ["no vertebra found"]


def test_one_vertebra_is_uncertain():
    result = label_spine([Candidate(22, np.zeros(3), 0.9), Candidate(21, np.ones(3), 0.4)], STATISTICS)
    assert list(result.points) == [22] and result.uncertain and result.anchors == ()
    assert "level uncertain" in result.reasons[0]
    assert result.second is not None and list(result.second) == [21]


def test_the_second_best_labelling_is_the_shifted_one():
    spine = phantom_spine(rng_of(7))
    middle = {label: spine[label] for label in range(12, 17)}
    found = candidates_of(middle, 0.6) + [Candidate(k - 1, p, 0.5) for k, p in middle.items()]
    result = label_spine(found, STATISTICS)
    assert list(result.points) == list(range(12, 17)) and result.uncertain
    assert result.second is not None and list(result.second) == list(range(11, 16))
    assert 0 < result.margin < 1


def test_vertebrae_at_the_cut_ends_are_left_out():
    spine = phantom_spine(rng_of(8))
    low, high = spine[23][2] - 5, spine[16][2] + 5
    one = scene(spine, rng_of(0), PERFECT, (low, high))
    result = label_spine(one.candidates, STATISTICS, one.view)
    assert list(result.points) == [17, 18, 19, 20, 21, 22] and set(result.cut) == {16, 23}
    assert any(reason.startswith("cut by the end of the image") for reason in result.reasons)


def test_a_whole_vertebra_of_the_neck_near_the_end_is_kept():
    points = {label: np.array([0.0, 0.0, 15.0 * (6 - label)]) for label in range(3, 8)}
    affine = np.eye(4)
    affine[:3, 3] = [-50, -50, -23.5]  # the lowest slice lies 9 mm below C7
    result = label_spine(candidates_of(points), STATISTICS, FieldOfView(affine, (100, 100, 150)))
    assert 7 in result.points and result.cut == ()


def test_vertebrae_that_should_be_in_view_count():
    """Whether the lowest of these is L4 or L5 shows in what lies below: there is room, and no other vertebra."""
    spine = phantom_spine(rng_of(9))
    found = [Candidate(label + d, spine[label], 0.5 - 0.02 * d) for label in range(20, 25) for d in (0, -1)]
    found.append(Candidate(SACRUM, spine[SACRUM], 0.35))
    view = scene(spine, rng_of(0), PERFECT).view
    assert list(label_spine(found, STATISTICS, view).points) == [20, 21, 22, 23, 24]


def run(seeds: int, network: Network, anomalies: frozenset[str], levels: tuple[float, float] | None) -> list[tuple]:
    """Scene, result and the number of wrong labels of some random patients."""
    rng = rng_of(seeds + 100)
    runs = []
    for _ in range(seeds):
        spine = phantom_spine(rng, anomalies)
        one: Scene = scene(spine, rng, network, cut_range(spine, rng, levels) if levels else None)
        result = label_spine(one.candidates, STATISTICS, one.view)
        runs.append((one, result, len(result.points) - hits(result, one.truth)))
    return runs


@pytest.mark.parametrize(
    ("anomaly", "levels", "least"),
    [
        (None, None, 0.99),
        (None, (8, 18), 0.97),
        (None, (3, 8), 0.93),
        ("T13", None, 0.97),
        ("L6", None, 0.97),
        ("no_T12", None, 0.97),
        ("scoliosis", None, 0.97),
    ],
)
def test_identification_on_simulated_detections(anomaly, levels, least):
    """Noise, missing and false maxima, belief spread over neighbours, cut fields of view."""
    runs = run(15, Network(), frozenset({anomaly} if anomaly else ()), levels)
    there = sum(len(one.whole) for one, _, _ in runs)
    right = sum(hits(result, one.whole) for one, result, _ in runs)
    wrong = [vertebra_names(set(result.points) - set(one.truth)) for one, result, _ in runs]
    assert right / there >= least, wrong


def test_uncertain_is_said_where_labels_are_wrong():
    """A network that is often off by one far from anchors: certain labellings are right."""
    runs = run(40, Network(2.5, 0.08, 1.0, 0.8, 0.4, 0.1), frozenset(), (3, 14))
    certain = [wrong == 0 for _, result, wrong in runs if not result.uncertain]
    doubted = [result.uncertain for _, result, wrong in runs if wrong]
    assert len(doubted) >= 3, "the network has to err for this test to tell anything"
    assert np.mean(certain) >= 0.9 and np.mean(doubted) >= 0.8


def test_labelling_is_fast():
    spine = phantom_spine(rng_of(11))
    one = scene(spine, rng_of(1), Network(false_per_label=2.0))
    label_spine(one.candidates, STATISTICS, one.view)
    start = time.process_time()
    label_spine(one.candidates, STATISTICS, one.view)
    assert time.process_time() - start < 1.0


def test_costs_decide_about_variants():
    spine = phantom_spine(rng_of(12), frozenset({"L6"}))
    found = candidates_of({label: point for label, point in spine.items() if label >= 20}, 0.9)
    assert 25 in label_spine(found, STATISTICS).points
    assert 25 not in label_spine(found, STATISTICS, costs=ChainCosts(**{**RULES["costs"], "sixth_lumbar": 5.0})).points


def test_channels_are_in_the_order_of_the_spine():
    assert len(CHANNELS) == 27 and CHANNELS[18:21] == (19, 28, 20) and CHANNELS[-1] == SACRUM
