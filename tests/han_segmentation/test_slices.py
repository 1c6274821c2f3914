"""Slices: few cases open at a time, image and labels together, put back where they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bundles.han_segmentation.scripts.data import PrepareHan
from bundles.han_segmentation.scripts.slices import RecentCases, SliceInferer, SliceSample, every_slice, organ_weights
from tests.han_segmentation.heads import TABLE


def case(shape: tuple[int, int, int] = (30, 20, 9)) -> dict:
    """A prepared case in which the image shows the labels."""
    labels = np.zeros(shape, np.uint8)
    labels[4:12, 3:9, 2:5] = 5
    hu = np.where(labels > 0, 240, -160).astype(np.int16)
    valid = np.ones(31, np.float32)
    return {"case": "a", "hu": hu, "labels": labels, "mr": np.zeros((0, *shape), np.uint8), "valid": valid}


def test_few_cases_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(PrepareHan, "key", lambda self, data: data["case"])
    monkeypatch.setattr(PrepareHan, "__call__", lambda self, data: opened.append(data["case"]) or {"of": data["case"]})
    recent = RecentCases(PrepareHan(tmp_path, 3.0, TABLE), cases=2)
    assert [recent({"case": name})["of"] for name in "abacab"] == list("abacab")
    assert opened == ["a", "b", "c", "b"] and list(recent.opened) == ["a", "b"]


@pytest.mark.parametrize("size", [16, 64])
def test_slices_keep_image_and_labels_together(size: int) -> None:
    sample = SliceSample(size, TABLE)({**case(), "slice": 3})
    empty = SliceSample(size, TABLE)({**case(), "slice": 5})
    assert not bool(empty["labels"].any())
    assert sample["image"].shape == (2, size, size) and sample["labels"].shape == (1, size, size)
    assert torch.equal(sample["image"][0] > 0.5, sample["labels"][0] == 5) and bool((sample["labels"] == 5).any())


def test_an_epoch_is_every_slice_and_weights_come_from_voxel_counts(tmp_path: Path) -> None:
    known = case()
    known["valid"][7] = 0  # not contoured: its voxels say nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrepareHan, "__call__", lambda self, data: known)
        prepare = PrepareHan(tmp_path, 3.0, TABLE)
        samples = every_slice([{"case": "a"}, {"case": "b"}], prepare)
        weights = organ_weights([{"case": "a"}, {"case": "b"}], prepare, TABLE, most=100.0)
    assert [(s["case"], s["slice"]) for s in samples] == [(name, z) for name in "ab" for z in range(9)]
    inside = 8 * 6 * 3
    assert weights[4] == pytest.approx((30 * 20 * 9 - inside) / inside) and len(weights) == 30
    assert weights[6] == 1.0 and weights[7] == 100.0, "never contoured, and contoured as absent"


@pytest.mark.parametrize("shape", [(30, 21, 9), (70, 33, 5)])
def test_volumes_come_back_as_they_were(shape: tuple[int, int, int]) -> None:
    volume = torch.rand(1, 5, *shape)
    logits = SliceInferer(TABLE, 64, batch_size=2, amp=False)(volume, lambda x: torch.cat([x - 0.5, 2 * x], dim=1))
    assert logits.shape == (1, 5, *shape) and not logits[0, 0].any()
    inside = slice(3, 67) if shape[0] > 64 else slice(None)
    torch.testing.assert_close(logits[0, 1, inside], volume[0, 0, inside] - 0.5)
    torch.testing.assert_close(logits[0, 4, inside], 2 * volume[0, 3, inside])
    if shape[0] > 64:
        assert bool((logits[0, 1:, :3] == -30).all())
