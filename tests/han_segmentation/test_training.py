"""What training sees: splits, prepared cases, crops; what it learns from contours of some organs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bundles.han_segmentation.scripts.augmentation import HanSample
from bundles.han_segmentation.scripts.cases import find_han_cases
from bundles.han_segmentation.scripts.contours import validity_mask
from bundles.han_segmentation.scripts.data import (
    PickCase,
    PrepareHan,
    WholeCase,
    han_datalist,
    mixed_epoch,
    split_cases,
)
from bundles.han_segmentation.scripts.inferer import HanInferer
from bundles.han_segmentation.scripts.losses import PartialLoss, WeightedSliceLoss
from bundles.han_segmentation.scripts.training import start_network, warmup_decay
from shared.io.errors import CaseError
from shared.training.seeding import mix_seed
from tests.han_segmentation.heads import NUMBERS, TABLE, head, nifti_folder

STEM, LEFT, RIGHT = NUMBERS["Brainstem"], NUMBERS["Parotid_L"], NUMBERS["Parotid_R"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("prepared")
    nifti_folder(root / "cases")
    (case,) = find_han_cases(root / "cases", TABLE)
    return PrepareHan(root / "cache", 5.0, TABLE)(case)


def test_patients_are_split_and_never_shared() -> None:
    cases = [{"case": str(n)} for n in range(20)]
    parts = [split_cases(cases, name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert sorted(int(case["case"]) for part in parts for case in part) == list(range(20))
    assert split_cases(cases, "val") == parts[1] != split_cases(cases, "val", seed=1)


def test_folders_decide_where_there_are_some(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        nifti_folder(tmp_path / part, f"of_{part}")
    assert [case["case"] for case in han_datalist(tmp_path, "val", TABLE)] == ["of_validation"]
    (tmp_path / "train" / "of_train" / "labels.nii.gz").unlink()
    with pytest.raises(CaseError, match="has no contours"):
        han_datalist(tmp_path, "train", TABLE)


def test_patients_and_phantoms_have_equal_shares() -> None:
    cases = [{"case": "p"}] * 2 + [{"case": "h", "phantom": True}] * 5
    items = mixed_epoch(cases, 10)
    pick = PickCase()
    pick.set_random_state(seed=0)
    assert sorted(pick(item)["case"][0] for item in items) == ["h"] * 5 + ["p"] * 5


@pytest.mark.parametrize(("share", "patients"), [(0.0, 0), (0.25, 5), (0.6, 12), (1.0, 20)])
def test_share_of_patients(share: float, patients: int) -> None:
    cases = [{"case": "p"}, {"case": "h", "phantom": True}]
    kinds = ["phantom" not in item["cases"][0] for item in mixed_epoch(cases, 20, share)]
    assert sum(kinds) == patients
    runs = "".join("p" if kind else "h" for kind in kinds).split("p" if share < 0.5 else "h")
    assert share in (0.0, 1.0) or max(len(run) for run in runs) <= 3  # evenly in turn


def test_every_case_is_seen_however_short_the_epochs() -> None:
    cases = [{"case": f"p{i}"} for i in range(7)] + [{"case": f"h{i}", "phantom": True} for i in range(5)]
    pick, seen = PickCase(), set()
    for epoch in range(40):
        for index, item in enumerate(mixed_epoch(cases, 2)):
            pick.set_random_state(seed=mix_seed(0, epoch, index))
            seen.add(pick(item)["case"])
    assert len(seen) == len(cases)
    assert pick(cases[0]) is cases[0]


def test_prepared_case(prepared: dict) -> None:
    phantom = head(missing=2)
    assert prepared["hu"].shape == prepared["labels"].shape == prepared["mr"].shape[1:]
    assert (prepared["valid"] == validity_mask(phantom.contoured, 30)).all()
    for number in (STEM, LEFT, NUMBERS["Bone_Mandible"]):
        if number not in phantom.contoured:
            continue
        volume = (prepared["labels"] == number).sum() * 5.0**3
        assert volume == pytest.approx((phantom.labels == number).sum() * 4.0**3, rel=0.25)
        place = prepared["affine"] @ [*np.argwhere(prepared["labels"] == number).mean(axis=0), 1]
        true = phantom.affine @ [*np.argwhere(phantom.labels == number).mean(axis=0), 1]
        assert np.linalg.norm(place - true) < 2.0
    whole = WholeCase(TABLE)(prepared)
    assert whole["image"].shape[1:] == prepared["hu"].shape and set(whole["image"][-1].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("bend", [0.0, 0.3])
def test_crops_keep_image_and_labels_together(prepared: dict, bend: float) -> None:
    """A case whose image shows its labels, so that any crop of it has to as well."""
    shown = {**prepared, "hu": np.where(prepared["labels"] == STEM, 240, -160).astype(np.int16)}
    crop = HanSample(
        (24, 20, 16),
        TABLE,
        ranges={"bend": bend, "warp_prob": 1.0, "noise_hu": 0.0, "shift_hu": 0.0, "gain": 0.0, "blur_prob": 0},
        organs=["Brainstem"],
    )
    for seed in range(4):
        crop.set_random_state(seed)
        sample = crop(shown)
        assert sample["image"].shape[1:] == (24, 20, 16) and sample["labels"].shape == (1, 24, 20, 16)
        inside = sample["labels"][0] == STEM
        assert bool(inside.any()) and float(sample["image"][0][inside].mean()) > 0.7 > 0.1
        assert float(sample["image"][0][~inside].mean()) < 0.1


@pytest.mark.parametrize(("bend", "least", "most"), [(0.0, 1.0, 1.0), (0.333, 0.85, 0.97)])
def test_bending_changes_shapes_by_some_voxels(bend: float, least: float, most: float) -> None:
    """Dice of a ball before and after."""
    axes = np.arange(-24, 25)
    labels = STEM * (sum(n**2 for n in np.meshgrid(axes, axes, axes)) <= 15**2).astype(np.uint8)
    case = {"case": "a", "hu": 100 * labels.astype(np.int16), "mr": np.zeros((0, *labels.shape), np.uint8)}
    case["mr_channels"] = 2
    case |= {"labels": labels, "valid": validity_mask((STEM,), 30)}
    still = dict.fromkeys(("mirror_prob", "rotate", "scale", "noise_hu", "shift_hu", "gain", "blur_prob"), 0.0)
    sample = HanSample((48, 48, 48), TABLE, {**still, "bend": bend, "warp_prob": 1.0})
    sample.centre = lambda labels: np.full(3, 24.0)  # type: ignore[method-assign]
    for seed in range(3):
        found = sample.set_random_state(seed)(case)["labels"][0].numpy() > 0
        before = labels[:48, :48, :48] > 0
        assert least <= 2 * (found & before).sum() / (found.sum() + before.sum()) <= most


def test_mirrored_crops_exchange_labels_and_what_is_known(prepared: dict) -> None:
    settings = dict.fromkeys(("warp_prob", "noise_hu", "shift_hu", "gain", "blur_prob", "gamma", "hide_mr"), 0.0)
    size = prepared["hu"].shape
    plain, mirrored = (
        HanSample(size, TABLE, {**settings, "mirror_prob": p}, foreground=0, jitter=0) for p in (0.0, 1.0)
    )
    samples = [sample.set_random_state(3)(prepared) for sample in (plain, mirrored)]
    table = torch.from_numpy(TABLE.mirrored_numbers().astype(np.int64))
    assert torch.equal(samples[1]["labels"].long(), table[torch.flip(samples[0]["labels"], [1]).long()])
    assert torch.equal(samples[1]["image"], torch.flip(samples[0]["image"], [1]))
    assert torch.equal(samples[1]["valid"], samples[0]["valid"][table])


def test_nothing_is_learned_about_an_organ_without_contours() -> None:
    labels = torch.zeros(1, 1, 6, 6, 6, dtype=torch.uint8)
    labels[..., :3] = STEM
    valid = torch.from_numpy(validity_mask((STEM,), 30))[None]
    logits = torch.zeros(1, 31, 6, 6, 6)
    logits[:, STEM, ..., :3] = 12.0
    logits[:, 0, ..., 3:] = 12.0
    loss, target = PartialLoss(TABLE), {"labels": labels, "valid": valid}
    other = logits.clone()  # what is background by the contours may be any organ that was not contoured
    other[:, 0, ..., 3:], other[:, LEFT, ..., 3:] = 0.0, 12.0
    assert float(loss(logits, target)) < 0.01
    torch.testing.assert_close(loss(other, target), loss(logits, target))
    everything = {"labels": labels, "valid": torch.ones(1, 31)}
    assert float(loss(other, everything)) > 1.0
    wrong = logits.clone()
    wrong[:, STEM, ..., :3], wrong[:, RIGHT, ..., :3] = 0.0, 12.0
    assert float(loss(wrong, target)) > 1.0


def test_small_organs_pull_harder_where_the_loss_is_balanced() -> None:
    labels = torch.zeros(1, 1, 10, 10, 10, dtype=torch.uint8)
    labels[0, 0, 0, 0, :2] = STEM  # 2 of 1000 voxels
    target = {"labels": labels, "valid": torch.ones(1, 31)}
    pulls = []
    for balance in (0.0, 0.5):
        logits = torch.zeros(1, 31, 10, 10, 10, requires_grad=True)
        PartialLoss(TABLE, dice_weight=0.0, balance=balance)(logits, target).backward()
        assert logits.grad is not None
        pulls.append(float(logits.grad[0, STEM, 0, 0, 0] / logits.grad[0, 0, 5, 5, 5]))
    assert pulls[0] == pytest.approx(1.0, rel=1e-4) and pulls[1] == pytest.approx((998 / 2) ** 0.5, rel=1e-4)


def test_slices_weigh_organs_and_leave_unknown_ones_out() -> None:
    labels = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    labels[..., :2] = LEFT
    valid = torch.from_numpy(validity_mask((LEFT,), 30))[None]
    logits = torch.zeros(1, 30, 8, 8)
    target = {"labels": labels, "valid": valid}
    changed = logits.clone()
    changed[:, RIGHT - 1] = 30.0
    loss = WeightedSliceLoss([5.0] * 30)
    torch.testing.assert_close(loss(changed, target), loss(logits, target))
    expected = np.log(2) * (5.0 * 0.25 + 0.75)
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_windows_of_any_size_give_what_the_network_gives() -> None:
    image = torch.rand(1, 2, 20, 33, 9)
    found = HanInferer(TABLE, (16, 16, 8), amp=False)(image, lambda x: 3 * x[:, :1])
    torch.testing.assert_close(found, 3 * image[:, :1], atol=1e-5, rtol=1e-5)
    biased = HanInferer(TABLE, (16, 16, 8), amp=False, background_bias=2.0)(image, lambda x: 3 * x)
    torch.testing.assert_close(biased[:, 1:], 3 * image[:, 1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(biased[:, 0], 3 * image[:, 0] + 2, atol=1e-5, rtol=1e-5)


def test_schedule_and_start(tmp_path: Path) -> None:
    factor = warmup_decay(20, 2)
    values = [factor(epoch) for epoch in range(21)]
    assert values[0] < values[1] < values[2] > values[10] > values[19] > values[20] == 0
    given, new = torch.nn.Conv3d(1, 2, 3), torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3))
    torch.save(given.state_dict(), tmp_path / "other.pt")
    with pytest.raises(CaseError, match="no weights of this network"):
        start_network(new, tmp_path / "other.pt")
    torch.save({"0.weight": given.weight.detach(), "0.bias": torch.zeros(5)}, tmp_path / "part.pt")
    assert torch.equal(start_network(new, tmp_path / "part.pt")[0].weight, given.weight)


def test_mirror_image_agrees_in_paired_organs() -> None:
    """The mirrored result of a mirrored head, labels exchanged, is the result: no side is preferred any more."""

    def lopsided(window: torch.Tensor) -> torch.Tensor:
        places = torch.arange(window.shape[2])[:, None, None] / 10
        return torch.cat([window[:, :1] * n + places * (n % 3) for n in range(31)], dim=1)

    inferer = HanInferer(TABLE, (16, 16, 16), amp=False, mirror=True)
    head_, exchanged = torch.rand(1, 1, 16, 16, 16), torch.from_numpy(TABLE.mirrored_numbers().astype(np.int64))
    one, other = inferer(head_, lopsided), inferer(head_.flip(2), lopsided)
    torch.testing.assert_close(other.flip(2)[:, exchanged], one)
    assert not torch.allclose(one, lopsided(head_))
