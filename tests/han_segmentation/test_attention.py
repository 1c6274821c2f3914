"""Attention maps: weights that add up, places that are right, files on request alone."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from bundles.han_segmentation.scripts.attention import SaveAttentiond, asking_tokens, attention_of
from shared.io.errors import CaseError
from shared.networks.han import HanTransformer
from tests.han_segmentation.heads import NUMBERS, TABLE

CHANNELS = 4


@pytest.fixture(scope="module")
def network() -> HanTransformer:
    torch.manual_seed(0)
    return HanTransformer(CHANNELS - 2, 2, widths=(4, 4, 8), depth=2, num_heads=2).eval()


def test_tokens_of_a_mask() -> None:
    inside = torch.zeros(8, 12, 4, dtype=torch.bool)
    inside[5, 9, 0] = inside[0, 0, 0] = True
    assert asking_tokens(inside, 4).reshape(2, 3, 1).nonzero().tolist() == [[0, 0, 0], [1, 2, 0]]


def test_attention_is_relative_to_looking_everywhere_alike(network: HanTransformer) -> None:
    image = torch.rand(CHANNELS, 16, 24, 8)
    everyone = attention_of(network, image, None)
    assert everyone.shape == (2, 16 // network.divisor, 24 // network.divisor, 8 // network.divisor)
    torch.testing.assert_close(everyone.mean(dim=(1, 2, 3)), torch.ones(2))
    inside = torch.zeros(image.shape[1:], dtype=torch.bool)
    inside[0, 0, 0] = True
    first = attention_of(network, image, inside)
    with torch.no_grad():
        maps = network.attention_maps(image[None])
    torch.testing.assert_close(first[1].flatten(), maps[1][0].mean(dim=0)[0] * maps[1].shape[-1])
    assert not torch.allclose(first, everyone)


def test_files_are_written_on_request(network: HanTransformer, tmp_path: Path) -> None:
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = [-20, 10, 5]
    image = MetaTensor(torch.rand(CHANNELS, 14, 20, 9), affine=torch.as_tensor(affine))
    logits = torch.zeros(31, 14, 20, 9)
    logits[NUMBERS["Brainstem"], 4:8, 4:8, 4:8] = 5
    item = {"case": "head", "image": image, "pred": logits}
    SaveAttentiond("pred", network, TABLE, None, tmp_path)(item)
    SaveAttentiond("pred", network, TABLE, "all", None)(item)
    assert list(tmp_path.iterdir()) == []
    SaveAttentiond("pred", network, TABLE, "Brainstem", tmp_path)(item)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head_attention.nii.gz", "head_attention.png"]
    saved = nibabel.load(tmp_path / "head_attention.nii.gz")
    step = network.divisor
    assert saved.shape == (-(-14 // step), 20 // step, -(-9 // step), 2)
    # the first block of voxels has its centre where the first voxel of the map is
    assert np.allclose(saved.affine[:3, 3], affine[:3, :3] @ np.full(3, (step - 1) / 2) + affine[:3, 3])
    with Image.open(tmp_path / "head_attention.png") as picture:
        assert np.asarray(picture).std() > 5
    with pytest.raises(CaseError, match="Brainstem"):
        SaveAttentiond("pred", network, TABLE, "Nose", tmp_path)
    with pytest.raises(CaseError, match="a .pt file"):
        SaveAttentiond("pred", torch.nn.Identity(), TABLE, "all", tmp_path)(item)
