"""Torso phantoms: geometry, labels, anomalies and HU that networks are trained and measured with."""

import numpy as np
import pytest
from scipy.ndimage import label as components

from shared.phantoms.torso import ANOMALIES, TISSUES, TorsoPhantom, make_torso
from shared.phantoms.torso.spine_curve import random_spine
from shared.spine.labels import CRANIOCAUDAL, SPINE_NAMES, VERTEBRA_LABELS, craniocaudal_order

COARSE = (4.0, 4.0, 4.0)
L = VERTEBRA_LABELS


@pytest.fixture(scope="module")
def full() -> TorsoPhantom:
    return make_torso(3, (3.0, 3.0, 3.0), "full", anomalies=False, field_of_view="body")


def value_at(phantom: TorsoPhantom, array: np.ndarray, lps: np.ndarray) -> int:
    index = np.linalg.inv(phantom.affine) @ [-lps[0], -lps[1], lps[2], 1.0]
    return int(array[tuple(np.round(index[:3]).astype(int))])


def test_same_seed_same_phantom_other_seed_another() -> None:
    first, again, other = (make_torso(seed, COARSE, "lumbar", field_of_view="body") for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.labels, again.labels)
    assert first.body_centres.keys() == again.body_centres.keys() and first.meta == again.meta
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_types_and_shapes(full: TorsoPhantom) -> None:
    assert full.image.dtype == np.int16 and full.labels.dtype == np.uint8 and full.tissues.dtype == np.uint8
    assert full.image.shape == full.labels.shape == full.tissues.shape
    assert full.image.min() >= -1024 and full.image.max() <= 3071


def test_order_and_steps_of_the_centres(full: TorsoPhantom) -> None:
    labels = craniocaudal_order(full.body_centres)
    assert labels == list(range(1, 25))
    centres = np.array([full.body_centres[label] for label in labels])
    assert np.all(np.diff(centres[:, 2]) < 0)  # LPS: z falls towards the feet
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert steps.min() > 11 and steps.max() < 45
    assert steps[:6].mean() < steps[8:16].mean() < steps[-4:].mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_centre_lies_in_its_own_vertebra(seed: int) -> None:
    phantom = make_torso(seed, COARSE, "full", field_of_view="body", anomalies={"scoliosis"})
    for label, centre in phantom.body_centres.items():
        if label != L["C1"]:  # that of the atlas lies inside its ring, where the dens is
            assert value_at(phantom, phantom.labels, centre) == label, SPINE_NAMES[label]


def test_body_centre_is_the_middle_of_the_body() -> None:
    phantom = make_torso(4, (1.5, 1.5, 1.5), ("L2", "L4"), anomalies=False, field_of_view="spine")
    index = phantom.index_centres()[L["L3"]]
    i, j, k = np.round(index).astype(int)
    mine = phantom.labels == L["L3"]
    column = np.flatnonzero(mine[i, j])
    assert abs(column.mean() - index[2]) * 1.5 < 3.0
    row = np.flatnonzero(mine[:, j, k])
    assert abs(row.mean() - index[0]) * 1.5 < 3.0 and 30 < len(row) * 1.5 < 65  # width of L3 in mm


def test_every_vertebra_is_one_piece(full: TorsoPhantom) -> None:
    for label in full.complete:
        _, count = components(full.labels == label, np.ones((3, 3, 3)))
        assert count == 1, SPINE_NAMES[label]


def test_volumes_grow_downwards(full: TorsoPhantom) -> None:
    ml = {name: np.sum(full.labels == L[name]) * 0.027 for name in ("C4", "T6", "L3")}
    assert ml["C4"] < ml["T6"] < ml["L3"]
    assert 9 < ml["C4"] < 25 and 15 < ml["T6"] < 42 and 38 < ml["L3"] < 85


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SRA", "ILA"])
def test_world_does_not_depend_on_the_orientation(codes: str) -> None:
    straight = make_torso(7, COARSE, ("T10", "L3"), orientation="RAS")
    turned = make_torso(7, COARSE, ("T10", "L3"), orientation=codes)
    assert sorted(turned.image.shape) == sorted(straight.image.shape)
    for label, centre in straight.body_centres.items():
        assert np.allclose(turned.body_centres[label], centre)
        assert value_at(turned, turned.labels, centre) == label
        assert value_at(turned, turned.image, centre) == value_at(straight, straight.image, centre)


def test_left_and_right_of_the_femora(full: TorsoPhantom) -> None:
    x = {}
    for side in ("left", "right"):
        index = np.argwhere(full.tissues == TISSUES[f"femur_{side}"]).mean(axis=0)
        x[side] = (full.affine[:3, :3] @ index + full.affine[:3, 3])[0]
    spine = -full.body_centres[L["L5"]][0]
    assert x["right"] - spine > 50 and x["left"] - spine < -50  # RAS: x grows to the patient's right


def test_liver_is_on_the_right_and_heart_on_the_left(full: TorsoPhantom) -> None:
    def x(name: str) -> float:
        index = np.argwhere(full.tissues == TISSUES[name]).mean(axis=0)
        return float((full.affine[:3, :3] @ index + full.affine[:3, 3])[0])

    spine = -full.body_centres[L["T10"]][0]
    assert x("liver") - spine > 30 and x("heart") - spine < -5


def rib_touches(phantom: TorsoPhantom, label: int) -> bool:
    """Whether there is rib within 25 mm of the right or left side of a body centre."""
    ribs = np.argwhere(phantom.tissues == TISSUES["rib"]) @ phantom.affine[:3, :3].T + phantom.affine[:3, 3]
    centre = phantom.body_centres[label] * [-1, -1, 1]
    near = np.abs(ribs - centre)
    return bool(np.any((near[:, 0] < 60) & (near[:, 1] < 45) & (near[:, 2] < 9)))


def test_ribs_tell_thoracic_from_lumbar(full: TorsoPhantom) -> None:
    assert all(rib_touches(full, label) for label in range(L["T1"], L["T12"] + 1))
    assert not rib_touches(full, L["L2"]) and not rib_touches(full, L["C5"])


def test_l6() -> None:
    phantom = make_torso(11, COARSE, ("L3", "sacrum"), anomalies={"L6"}, field_of_view="body")
    centres = phantom.body_centres
    assert L["L6"] in centres and centres[L["L6"]][2] < centres[L["L5"]][2]
    assert (phantom.labels == 26).any() and value_at(phantom, phantom.labels, centres[L["L6"]]) == L["L6"]


def test_t13_has_its_number_and_stub_ribs() -> None:
    phantom = make_torso(12, COARSE, ("T11", "L2"), anomalies={"T13"}, field_of_view="body")
    centres = phantom.body_centres
    assert L["T13"] == 28 and centres[L["T12"]][2] > centres[28][2] > centres[L["L1"]][2]
    assert rib_touches(phantom, 28)
    assert CRANIOCAUDAL.index(28) == CRANIOCAUDAL.index(L["T12"]) + 1


def test_missing_t12() -> None:
    phantom = make_torso(13, COARSE, ("T10", "L2"), anomalies={"no_T12"}, field_of_view="body")
    assert L["T12"] not in phantom.body_centres and not (phantom.labels == L["T12"]).any()
    step = np.linalg.norm(phantom.body_centres[L["T11"]] - phantom.body_centres[L["L1"]])
    assert 20 < step < 45
    assert rib_touches(phantom, L["T11"])


def test_wedge_lowers_the_front() -> None:
    phantom = make_torso(14, (2.0, 2.0, 2.0), ("T11", "L2"), anomalies={"wedge"}, field_of_view="spine")
    label, front = next(iter(phantom.meta["fractured"].items()))
    healthy = next(k for k in phantom.complete if k not in phantom.meta["fractured"])

    def ratio(which: int) -> float:
        """Height of the body in front over that behind, along z."""
        i, j, k = np.round(phantom.index_centres()[which]).astype(int)
        mine = phantom.labels[i] == which
        return float(mine[j + 5].sum() / mine[j - 4].sum())

    assert front < 0.85 and ratio(label) < 0.9 and ratio(label) < ratio(healthy)


def test_scoliosis_bends_sideways() -> None:
    def bend(anomalies: frozenset[str]) -> float:
        values = []
        for seed in range(12):
            centres = np.array([pose.centre for pose in random_spine(anomalies, np.random.default_rng(seed)).poses[9:]])
            x, z = centres[:, 0], centres[:, 2]
            values.append(np.ptp(x - np.polyval(np.polyfit(z, x, 1), z)))
        return float(np.mean(values))

    assert bend(frozenset({"scoliosis"})) > 1.8 * bend(frozenset())


def test_steps_and_curves_are_those_of_patients() -> None:
    """Means over many spines against published steps (mm) and the usual kyphosis and lordosis (degrees)."""
    steps, angles = [], []
    for seed in range(60):
        spine = random_spine(frozenset(), np.random.default_rng(seed))
        moves = np.diff([pose.centre for pose in spine.poses], axis=0)
        steps.append(np.linalg.norm(moves, axis=1))
        angles.append(np.degrees(np.arctan2(moves[:, 1], -moves[:, 2])))
    mean = np.mean(steps, axis=0)
    for gap, expected in ((1, 18.5), (4, 16.1), (7, 20.9), (12, 24.0), (17, 29.8), (19, 33.4), (22, 31.7)):
        assert abs(mean[gap] - expected) < 1.0
    assert np.std(steps, axis=0).max() < 3.5
    angle = np.mean(angles, axis=0)
    assert 30 < angle[19] - angle[6] < 60 and -35 < angle[22] - angle[19] < -8


def test_metal_is_where_it_was_put() -> None:
    phantom = make_torso(15, (2.5,) * 3, ("L1", "L4"), anomalies={"screws"}, field_of_view="body")
    metal = phantom.tissues == TISSUES["metal"]
    assert metal.any() and np.median(phantom.image[metal]) > 1500
    assert set(np.unique(phantom.labels[metal])) & set(phantom.meta["implants"]["screws"])
    hip = make_torso(16, COARSE, "pelvis", anomalies={"hip_implant"}, field_of_view="body")
    x = (np.argwhere(hip.tissues == TISSUES["metal"]) @ hip.affine[:3, :3].T + hip.affine[:3, 3])[:, 0]
    sacrum = (np.argwhere(hip.labels == 26) @ hip.affine[:3, :3].T + hip.affine[:3, 3])[:, 0].mean()
    assert (x.mean() > sacrum) == (hip.meta["implants"]["hip"] == "right")


@pytest.mark.parametrize(
    ("tissue", "low", "high"),
    [("lung", -930, -700), ("fat", -125, -75), ("muscle", 25, 75), ("vertebra", 90, 600), ("disc", 50, 200)]
    + [("liver", 30, 190), ("aorta", 25, 400), ("airway", -1024, -700)],
)
def test_hu_of_tissues(full: TorsoPhantom, tissue: str, low: float, high: float) -> None:
    assert low < np.median(full.image[full.tissues == TISSUES[tissue]]) < high


def test_cortex_is_denser_than_marrow() -> None:
    phantom = make_torso(17, (1.0,) * 3, ("L2", "L3"), anomalies=False, field_of_view="spine")
    i, j, k = np.round(phantom.index_centres()[L["L2"]]).astype(int)
    line = phantom.image[i - 2 : i + 3, j - 2 : j + 3].mean(axis=(0, 1))
    mine = np.flatnonzero(phantom.labels[i, j] == L["L2"])
    rim = max(line[mine[0] - 1 : mine[0] + 3].max(), line[mine[-1] - 2 : mine[-1] + 2].max())
    assert rim > line[k - 3 : k + 4].mean() + 80


def test_spine_field_of_view_cuts_the_body_but_not_the_spine() -> None:
    phantom = make_torso(18, COARSE, ("T11", "L4"), anomalies=False, field_of_view="spine")
    assert phantom.image.shape[0] * 4 <= 284
    assert {L["T12"], L["L1"], L["L2"], L["L3"]} <= set(phantom.body_centres)


def test_cut_vertebrae_are_not_complete() -> None:
    phantom = make_torso(19, COARSE, ("T9", "L1"), anomalies=False, field_of_view="body")
    seen = set(np.unique(phantom.labels)) - {0}
    assert set(phantom.complete) < seen
    for label in seen - set(phantom.complete):
        at = np.argwhere(phantom.labels == label)
        assert (at.min(axis=0) == 0).any() or (at.max(axis=0) == np.array(phantom.labels.shape) - 1).any()


def test_random_spacing_and_thick_slices() -> None:
    phantom = make_torso(20, (3.0, 3.0, 5.0), ("L2", "L3"), field_of_view="spine")
    assert np.allclose(np.linalg.norm(phantom.affine[:3, :3], axis=0), [3, 3, 5])
    first, second = (make_torso(seed, None, ("L3", "L3"), field_of_view="spine") for seed in (1, 2))
    assert first.meta["spacing_mm"] != second.meta["spacing_mm"]


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="known are"):
        make_torso(0, COARSE, anomalies={"gout"})
    with pytest.raises(ValueError, match="region"):
        make_torso(0, COARSE, region="knee")
    with pytest.raises(ValueError, match="no such vertebra"):
        make_torso(0, COARSE, region=("L5", "L6"), anomalies=False)
    assert "L6" in ANOMALIES
