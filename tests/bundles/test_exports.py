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

from tests.bundles.conftest import Bundle, Inferred, Run
from tests.bundles.processes import option_arguments, run, run_bundle
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
    done = run(command, cwd)
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
        torch.rand((batch, image["num_channels"], *shape), generator=generator)
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


def export_torchscript(bundle: Bundle, weights: Path, filepath: Path, **overrides: Any) -> None:
    files = {"filepath": filepath, "ckpt_file": weights, "meta_file": "configs/metadata.json"}
    options = option_arguments({**files, "config_file": "configs/inference.json", **overrides})
    succeed([sys.executable, "-m", "monai.bundle", "ckpt_export", "network_def", *options], bundle.path)


def test_torchscript(bundle: Bundle, images: list[torch.Tensor], expected: list[torch.Tensor], work: Path) -> None:
    export_torchscript(bundle, bundle.path / "models" / "model.pt", work / "model.ts")
    network = torch.jit.load(work / "model.ts").eval()
    with torch.no_grad():
        check([network(x) for x in images], expected)


def test_torch_export(bundle: Bundle, images: list[torch.Tensor], expected: list[torch.Tensor], work: Path) -> None:
    file = work / "model.pt2"
    succeed([sys.executable, "-m", "scripts.shared.export", "--filepath", str(file)], bundle.path)
    network = torch.export.load(file).module()
    with torch.no_grad():
        check([network(x) for x in images], expected)


def test_onnx(bundle: Bundle, images: list[torch.Tensor], expected: list[torch.Tensor], work: Path) -> None:
    file = work / "model.onnx"
    succeed([sys.executable, "-m", "scripts.shared.export", "--filepath", str(file)], bundle.path)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    outputs = [session.run(["pred"], {"image": x.numpy()})[0] for x in images]
    check([torch.from_numpy(np.asarray(o)) for o in outputs], expected)


def test_torchscript_inference(bundle: Bundle, data: Data, unbroken: Run, inferred: Inferred, work: Path) -> None:
    """The same weights from a TorchScript file give the same results."""
    export_torchscript(bundle, unbroken.best, work / "trained.ts", **bundle.spec.inference)
    options = {**bundle.spec.inference, **data.inference, "ckpt_path": work / "trained.ts"}
    run_bundle(bundle.path, "inference", {**options, "output_dir": work / "from_ts"})
    check_results(bundle.spec, work / "from_ts", data.cases)
    for path in inferred.output.glob("*.json"):
        assert json.loads(path.read_text()) == json.loads((work / "from_ts" / path.name).read_text())
