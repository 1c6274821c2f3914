"""TorchScript, torch.export and ONNX files give what the network gives; inference runs from the TorchScript file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle.scripts import _get_fake_spatial_shape

from tests.bundles.conftest import Bundle
from tests.bundles.processes import option_arguments, run_bundle, run_quickly
from tests.bundles.spec import Data
from tests.bundles.test_runs import check_results

TOLERANCE = 1e-4
EAGER = """
import sys
import torch
from monai.bundle import ConfigParser

sys.path.insert(0, ".")
parser = ConfigParser()
parser.read_config("configs/inference.json")
network = parser.get_parsed_content("network_def").cpu().eval()
network.load_state_dict(torch.load("models/model.pt", map_location="cpu", weights_only=True))
inputs = torch.load(sys.argv[1], weights_only=True)
with torch.no_grad():
    torch.save([network(x) for x in inputs], sys.argv[2])
"""


def succeed(command: list[str], cwd: Path) -> None:
    done = run_quickly(command, cwd)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.fixture(scope="module")
def images(bundle: Bundle) -> list[torch.Tensor]:
    """Two batches for the network, of different sizes where these are free."""
    metadata = json.loads((bundle.path / "configs" / "metadata.json").read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    generator = torch.Generator().manual_seed(0)
    small = {"n": 2, "p": 2, "any": 32, **bundle.spec.verify}
    large = {key: 2 * value for key, value in small.items()}
    shapes = [_get_fake_spatial_shape(tuple(image["spatial_shape"]), **s) for s in (small, large)]
    return [
        bundle.spec.network_input(torch.rand((batch, image["num_channels"], *shape), generator=generator))
        for batch, shape in zip((1, 2), shapes, strict=True)
    ]


@pytest.fixture(scope="module")
def expected(bundle: Bundle, images: list[torch.Tensor], work: Path) -> list[torch.Tensor]:
    """What the network gives with the shipped weights."""
    torch.save(images, work / "images.pt")
    succeed([sys.executable, "-c", EAGER, str(work / "images.pt"), str(work / "expected.pt")], bundle.path)
    outputs = torch.load(work / "expected.pt", weights_only=True)
    assert all(o.std() > 0 for o in outputs)
    return outputs


def check(outputs: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for output, reference in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, reference, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def torchscript(bundle: Bundle, work: Path) -> Path:
    """The shipped weights as TorchScript, by MONAI's own command."""
    files = {"filepath": work / "model.ts", "ckpt_file": "models/model.pt", "meta_file": "configs/metadata.json"}
    options = option_arguments({**files, "config_file": "configs/inference.json"})
    succeed([sys.executable, "-m", "monai.bundle", "ckpt_export", "network_def", *options], bundle.path)
    return work / "model.ts"


def test_torchscript(images: list[torch.Tensor], expected: list[torch.Tensor], torchscript: Path) -> None:
    network = torch.jit.load(torchscript).eval()
    with torch.no_grad():
        check([network(x) for x in images], expected)


def test_torch_export(bundle: Bundle, images: list[torch.Tensor], expected: list[torch.Tensor], work: Path) -> None:
    file = work / "model.pt2"
    succeed([sys.executable, "-m", "scripts.shared.engines.export", "--filepath", str(file)], bundle.path)
    network = torch.export.load(file).module()
    with torch.no_grad():
        check([network(x) for x in images], expected)


def test_onnx(bundle: Bundle, images: list[torch.Tensor], expected: list[torch.Tensor], work: Path) -> None:
    file = work / "model.onnx"
    succeed([sys.executable, "-m", "scripts.shared.engines.export", "--filepath", str(file)], bundle.path)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    outputs = [session.run(["pred"], {"image": x.numpy()})[0] for x in images]
    check([torch.from_numpy(np.asarray(o)) for o in outputs], expected)


def assert_close(result: Any, reference: Any) -> None:
    """Equal results, but for rounding of their numbers."""
    if isinstance(reference, dict):
        assert list(result) == list(reference)
        result, reference = list(result.values()), list(reference.values())
    if isinstance(reference, list):
        for a, b in zip(result, reference, strict=True):
            assert_close(a, b)
    else:
        assert result == (pytest.approx(reference, abs=0.01) if isinstance(reference, float) else reference)


def test_inference_from_torchscript(bundle: Bundle, data: Data, torchscript: Path, work: Path) -> None:
    """With its defaults, inference gives the same results from models/model.pt and from its TorchScript file."""
    for name, weights in (("eager", bundle.path / "models" / "model.pt"), ("script", torchscript)):
        options = {**data.inference, "ckpt_path": weights, "amp": False, "output_dir": work / name}
        run_bundle(bundle.path, "inference", options)
        check_results(bundle.spec, work / name, data.cases)
    for path in (work / "eager").glob("*.json"):
        assert_close(json.loads((work / "script" / path.name).read_text()), json.loads(path.read_text()))
