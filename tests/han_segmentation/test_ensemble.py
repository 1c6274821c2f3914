"""Networks that draw some of the organs: how they learn, what they say, how they are averaged with the first look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from bundles.han_segmentation.scripts.data import OnlyOrgans
from bundles.han_segmentation.scripts.ensemble import AverageMembersd, averaged, load_members, organ_box
from bundles.han_segmentation.scripts.inferer import HanInferer
from bundles.han_segmentation.scripts.losses import PartialLoss
from shared.io.errors import CaseError
from tests.han_segmentation.heads import NAMES, NUMBERS, TABLE

STEM, LEFT, RIGHT, LIPS = (NUMBERS[name] for name in ("Brainstem", "Parotid_L", "Parotid_R", "Lips"))
ORGANS = (STEM, LEFT, RIGHT)
NAMED = tuple(NAMES[number] for number in ORGANS)
CLASSES = len(NAMES) + 1


def certain(*labels: int) -> Tensor:
    """(31, N, 1, 1): probabilities of voxels whose label is known."""
    return torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).T[:, :, None, None].float()


def test_means_of_probabilities_add_up_to_one() -> None:
    scores = [torch.randn(CLASSES, 3, 4, 5).mul(4).softmax(dim=0) for _ in range(3)]
    kept = scores[0].clone()
    found = averaged(scores[0], [other[list(ORGANS)] for other in scores[1:]], ORGANS)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(3, 4, 5))
    torch.testing.assert_close(found[STEM], (kept[STEM] + scores[1][STEM] + scores[2][STEM]) / 3)
    # the others keep the proportions that the first network gave them
    torch.testing.assert_close(found[LIPS] / found[0], kept[LIPS] / kept[0])
    torch.testing.assert_close(averaged(kept.clone(), [], ORGANS), kept)


def test_what_a_member_denies_goes_to_the_background_where_the_first_knows_no_better() -> None:
    found = averaged(certain(STEM, LIPS, 0, STEM), [certain(0, 0, LEFT, LEFT)[list(ORGANS)]], ORGANS)[:, :, 0, 0]
    expected = torch.zeros(CLASSES, 4)
    expected[[STEM, 0], 0] = 0.5
    expected[LIPS, 1] = 1.0  # a member that does not know lips says nothing against them
    expected[[0, LEFT], 2] = 0.5
    expected[[STEM, LEFT], 3] = 0.5
    torch.testing.assert_close(found, expected)


def test_logits_of_few_organs_stand_in_their_channels() -> None:
    def network(window: Tensor) -> Tensor:
        places = torch.arange(window.shape[2])[:, None, None] / 10
        return torch.cat([window * n + places * (n % 3) for n in range(4)], dim=1)

    head = torch.rand(1, 1, 16, 16, 16)
    logits = HanInferer(TABLE, (16, 16, 16), amp=False, organs=NAMED, background_bias=2.0)(head, network)
    assert logits.shape == (1, CLASSES, 16, 16, 16)
    torch.testing.assert_close(logits[:, ORGANS], network(head)[:, 1:])
    torch.testing.assert_close(logits[:, 0], network(head)[:, 0] + 2)
    others = [n for n in NAMES if n not in ORGANS]
    assert bool((logits[:, others] == -torch.inf).all()) and bool((logits.softmax(dim=1)[:, others] == 0).all())
    both = HanInferer(TABLE, (16, 16, 16), amp=False, organs=NAMED, mirror=True)
    exchanged = torch.from_numpy(TABLE.mirrored_numbers().astype(np.int64))
    torch.testing.assert_close(both(head.flip(2), network).flip(2)[:, exchanged], both(head, network))


def test_loss_of_few_organs_is_that_of_a_network_that_draws_all_but_knows_those_alone() -> None:
    logits = torch.randn(2, CLASSES, 6, 5, 4)
    few = torch.cat([torch.logsumexp(logits[:, [n for n in range(CLASSES) if n not in ORGANS]], 1, True),
                     logits[:, ORGANS]], dim=1)  # fmt: skip
    labels = torch.from_numpy(np.random.default_rng(0).choice([0, *ORGANS], (2, 1, 6, 5, 4)).astype(np.uint8))
    valid = torch.zeros(2, CLASSES)
    valid[0, list(ORGANS)] = 1
    valid[1, [STEM, RIGHT]] = 1
    target = {"labels": labels, "valid": valid}
    torch.testing.assert_close(PartialLoss(TABLE, organs=NAMED)(few, target), PartialLoss(TABLE)(logits, target))
    known = {**target, "valid": torch.ones(2, CLASSES)}  # what it cannot draw is nothing to it
    drawn = {**target, "valid": torch.zeros(2, CLASSES).index_fill(1, torch.tensor(ORGANS), 1)}
    torch.testing.assert_close(
        PartialLoss(TABLE, organs=NAMED)(few, known), PartialLoss(TABLE, organs=NAMED)(few, drawn)
    )


def test_contours_of_other_organs_are_forgotten() -> None:
    case = {"case": "a", "labels": np.array([[[0, STEM, LIPS, LEFT]]], np.uint8), "valid": np.ones(CLASSES, np.float32)}
    known = OnlyOrgans(TABLE, NAMED)(case)
    assert known["labels"].tolist() == [[[0, STEM, 0, LEFT]]] and known["labels"].dtype == np.uint8
    assert np.flatnonzero(known["valid"]).tolist() == [0, *sorted(ORGANS)]
    assert OnlyOrgans(TABLE)(case)["labels"] is case["labels"]


class Says(nn.Module):
    """Calls everything one organ, given by its weight, with a logit of 10 above the others."""

    def __init__(self, channel: int = 0) -> None:
        super().__init__()
        self.bias = nn.Parameter(10 * torch.nn.functional.one_hot(torch.tensor(channel), 4).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.view(1, 4, 1, 1, 1).repeat(len(x), 1, *x.shape[2:])


@pytest.mark.parametrize(
    ("place", "expected"),
    [((9, 10, 4), (slice(5, 13), slice(6, 14), slice(1, 7))), ((0, 19, 9), (slice(0, 8), slice(12, 20), slice(4, 10)))],
)
def test_box_around_organs(place: tuple[int, ...], expected: tuple[slice, ...]) -> None:
    labels = torch.zeros(20, 20, 10, dtype=torch.int64)
    assert organ_box(labels, ORGANS, 2, (8, 8, 6)) is None
    labels[place] = LEFT
    labels[5, 5, 5] = LIPS
    assert organ_box(labels, ORGANS, 2, (8, 8, 6)) == expected
    labels[2:18, 10, 4] = STEM
    box = organ_box(labels, ORGANS, 2, (8, 8, 12))
    assert box is not None and (box[0], box[2]) == (slice(0, 20), slice(0, 10))


def test_members_outvote_the_first_look_around_what_it_found(tmp_path: Path) -> None:
    for channel in (1, 2):
        torch.save(Says(channel).state_dict(), tmp_path / f"{channel}.pt")
    members = load_members(Says(), [tmp_path / "1.pt", tmp_path / "2.pt", tmp_path / "1.pt"])
    assert [int(member.bias.argmax()) for member in members] == [1, 2, 1]
    image = MetaTensor(torch.rand(5, 20, 20, 20), affine=torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0])))
    first = torch.zeros(CLASSES, 20, 20, 20)
    first[0] = 10.0
    step = AverageMembersd("pred", members, HanInferer(TABLE, (8, 8, 8), amp=False, organs=NAMED), TABLE, NAMED, 6.0)
    assert step({"image": image, "pred": first})["pred"] is first  # nothing found, nothing asked
    first[RIGHT, 10, 10, 10] = 20.0
    found = step({"image": image, "pred": first.clone()})["pred"].softmax(dim=0)
    share = 1 / 4 / (1 + 3 * np.exp(-10))  # of a network that is this sure
    inside = tuple(slice(6, 14) for _ in range(3))
    assert bool((found.argmax(dim=0) == STEM)[inside].all()) and int((found.argmax(dim=0) == STEM).sum()) == 8**3
    assert float(found[STEM][inside].mean()) == pytest.approx(2 * share, rel=1e-3)
    assert float(found[LEFT][inside].mean()) == pytest.approx(share, rel=1e-3)
    torch.testing.assert_close(found[:, :6], first.softmax(dim=0)[:, :6])


def test_no_weights_are_no_members() -> None:
    assert load_members(Says(), []) == [] == load_members(Says(), [""])
    with pytest.raises(CaseError, match="no such weights file"):
        load_members(Says(), ["missing.pt"])
    item = {"image": torch.zeros(5, 8, 8, 8), "pred": torch.rand(CLASSES, 8, 8, 8)}
    assert AverageMembersd("pred", [], HanInferer(TABLE), TABLE, NAMED)(item)["pred"] is item["pred"]
