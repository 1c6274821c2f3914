"""`configs/inference.json` asked as MONAI Label asks it: by the names of its parts, one image without a case."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, SaveImaged

from shared.geometry.grids import volume_affine
from shared.io.itk_images import to_sitk, write_image
from tests.han_segmentation.heads import NAMES, NUMBERS, head

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "han_segmentation"
SETTINGS = {
    "network_def#widths": [4, 4, 8],
    "network_def#depth": 1,
    "network_def#num_heads": 2,
    "spacing_mm": 6.0,
    "fine_ckpt_path": "",
    "ensemble_ckpt_paths": [],
    "check_region": False,  # a network without training finds no brainstem
    "device": torch.device("cpu"),
}


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConfigParser]:
    """The config, its scripts importable as they are in the bundle folder."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BUNDLE))
    config = ConfigParser()
    config.read_config(str(BUNDLE / "configs" / "inference.json"))
    config["bundle_root"] = str(BUNDLE)
    for name, value in SETTINGS.items():
        config[name] = value
    yield config
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "scripts":
            del sys.modules[name]


def test_one_image_as_a_server_hands_it_over(parser: ConfigParser, tmp_path: Path) -> None:
    phantom = head()
    path = tmp_path / "study.nii.gz"
    image = sitk.DICOMOrient(to_sitk(phantom.ct, phantom.affine), "PIR")
    write_image(image, path)
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():  # everything is called mandible
        for weights in network.head.parameters():
            weights.zero_()
        network.head.bias[NUMBERS["Bone_Mandible"]] = 10.0  # beyond any bias of the background
    weights_path = tmp_path / "model.pt"
    torch.save(network.state_dict(), weights_path)
    parser["ckpt_path"], parser["output_dir"] = str(weights_path), str(tmp_path / "out")
    item: dict[str, Any] = {"image": str(path), "image_path": str(path)}
    item = parser.get_parsed_content("preprocessing")(item)
    logits = parser.get_parsed_content("inferer")(item["image"][None], network)
    assert logits.shape[:2] == (1, len(NAMES) + 1) and logits.shape[2:] == item["image"].shape[1:]
    steps = parser.get_parsed_content("postprocessing").transforms
    assert isinstance(steps[-1], SaveImaged)  # which MONAI Label leaves out
    labels = Compose(steps[:-1])({**item, "pred": logits[0]})["pred"]
    assert isinstance(labels, MetaTensor) and labels.dtype == torch.uint8
    assert labels.shape[1:] == image.GetSize() and not (tmp_path / "out").exists()
    affine = volume_affine(labels)
    expected = np.diag([-1, -1, 1, 1]) @ np.array(image.TransformIndexToPhysicalPoint((3, 5, 7)) + (1.0,))
    assert np.allclose(affine @ [3, 5, 7, 1], expected, atol=1e-3)
    # the working grid is a box around the patient: filled with one label, it comes back around the patient's organs
    found = labels.as_tensor()[0].numpy() == NUMBERS["Bone_Mandible"]
    truth = sitk.GetArrayFromImage(sitk.DICOMOrient(to_sitk(phantom.labels, phantom.affine), "PIR")).T > 0
    assert found[truth].all() and not found.all()


@pytest.mark.parametrize("config", [["inference.json"], ["inference.json", "evaluate.json"]])
def test_options_of_the_looks(parser: ConfigParser, config: list[str]) -> None:
    """The bias counts in all looks; the first one and the ensemble are mirrored each by an option of its own."""
    parser.read_config([str(BUNDLE / "configs" / name) for name in config])
    parser["bundle_root"], parser["background_bias"] = str(BUNDLE), 1.5
    parser["mirror"], parser["ensemble_mirror"] = True, False
    first = parser.get_parsed_content("inferer")
    others = [parser.get_parsed_content(name) for name in ("ensemble_inferer", "fine_inferer")]
    assert [look.background_bias for look in (first, *others)] == [1.5] * 3
    assert [look.mirror for look in (first, *others)] == [True, False, False]
    assert [len(look.organs) for look in (first, *others)] == [30, 5, 30]


@pytest.mark.parametrize("config", [["inference.json"], ["inference.json", "evaluate.json"]])
def test_the_ensemble_is_mirrored_and_the_first_look_is_not(parser: ConfigParser, config: list[str]) -> None:
    parser.read_config([str(BUNDLE / "configs" / name) for name in config])
    parser["bundle_root"] = str(BUNDLE)
    first = parser.get_parsed_content("inferer")
    assert not first.mirror and parser.get_parsed_content("ensemble_inferer").mirror
