"""The spine bundles and head and neck in the real MONAI Label server, asked through its REST interface (LABEL=1)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bundles.han_segmentation.scripts.phantoms import make_head_neck
from shared.io.itk_images import to_sitk, write_image
from shared.phantoms.torso.dataset import write_torso
from shared.phantoms.torso.phantom import make_torso
from tests.bundles.processes import clean_environment, free_port, run_bundle

ROOT = Path(__file__).resolve().parent.parent.parent
SPINE_BUNDLES = {
    "spine_localization": "spine",
    "vertebrae_localization": "vertebrae",
    "vertebrae_segmentation": "segmentation",
}
CASES = {"phantom": 11, "second": 12}  # seeds
# result of a bundle, and the study that it is asked about
RESULTS = {name: (kind, "phantom") for name, kind in SPINE_BUNDLES.items()}
RESULTS["han_segmentation"] = ("segmentation", "head")
HEAD_SEED = 9100
START_S, REQUEST_S = 1800, 600

pytestmark = pytest.mark.skipif(os.environ.get("LABEL", "0") != "1", reason="LABEL=1 installs and starts MONAI Label")


@dataclass(frozen=True)
class Server:
    url: str
    studies: Path
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            log = self.log.read_text()[-6000:]
            pytest.fail(f"{method} {path}: {error.code} {error.read()[:500]!r}\n{log}")

    def send_file(self, method: str, path: str, field: str, file: Path, **fields: str) -> bytes:
        """A form with text fields and a file."""
        mark = "----part"
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{file.name}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + file.read_bytes() + b"\r\n")
        return self.ask(
            method, path, b"".join(parts) + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with two lumbar phantoms and the mask of each."""
    folder = tmp_path_factory.mktemp("label")
    studies = folder / "studies"
    studies.mkdir()
    for case, seed in CASES.items():
        written = write_torso(make_torso(seed, (2.0, 2.0, 2.0), ("T10", "L4"), False, "LPS", "spine"), folder, case)
        shutil.copy(folder / written["image_path"], studies / f"{case}.nii.gz")
        shutil.copy(folder / written["mask_path"], folder / f"{case}_mask.nii.gz")
    head = make_head_neck(HEAD_SEED, (3.0, 3.0, 3.0), with_mr=False)
    write_image(to_sitk(head.ct, head.affine), studies / "head.nii.gz")
    port, log = free_port(), folder / "server.log"
    environment = {**clean_environment(), "PORT": str(port), "LABEL_APP": str(folder / "app")}
    command = [str(ROOT / "ci" / "label_server.sh"), str(studies), *RESULTS]
    with open(log, "w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    answers = Server(f"http://127.0.0.1:{port}", studies, log)
    try:
        deadline = time.monotonic() + START_S
        while True:
            assert process.poll() is None, log.read_text()[-6000:]
            assert time.monotonic() < deadline, log.read_text()[-6000:]
            try:
                urllib.request.urlopen(f"{answers.url}/info/", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield answers
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def test_server_lists_the_bundles(server: Server) -> None:
    models = json.loads(server.ask("GET", "/info/"))["models"]
    assert set(RESULTS) <= set(models)


@pytest.mark.parametrize("name", RESULTS)
def test_the_server_gives_what_the_command_gives(server: Server, name: str, tmp_path: Path) -> None:
    kind, study = RESULTS[name]
    answer = server.ask("POST", f"/infer/{name}?image={study}&output=image", b"")
    (tmp_path / "answer.nii.gz").write_bytes(answer)
    bundle = ROOT / "bundles" / name
    options = {"dataset_dir": server.studies / f"{study}.nii.gz", "output_dir": tmp_path / "out"}
    run_bundle(bundle, "inference", options)
    ours, affine = read_labels(tmp_path / "out" / f"{study}_{kind}.nii.gz")
    theirs, other = read_labels(tmp_path / "answer.nii.gz")
    assert theirs.shape == ours.shape and np.allclose(other, affine, atol=1e-3)
    assert ours.any()
    for label in np.unique(ours[ours > 0]):
        a, b = ours == label, theirs == label
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= 0.99


@pytest.fixture
def trained_runs() -> Iterator[None]:
    """The server lets a training write where the bundle says, into itself: what was not there before is removed."""
    before = {name: (ROOT / "bundles" / name / "runs").exists() for name in SPINE_BUNDLES}
    yield
    for name, existed in before.items():
        if not existed:
            shutil.rmtree(ROOT / "bundles" / name / "runs", ignore_errors=True)


@pytest.mark.parametrize("name", SPINE_BUNDLES)
def test_the_server_trains_an_epoch(server: Server, name: str, trained_runs: None) -> None:
    for case in CASES:
        label = server.studies.parent / f"{case}_mask.nii.gz"
        server.send_file("PUT", f"/datastore/label?image={case}&tag=final", "label", label, params="{}")
    settings = {"model": name, "max_epochs": 1, "val_split": 0.5, "multi_gpu": False, "device": "cpu"}
    body = json.dumps({**settings, "tracking": "None"}).encode()
    server.ask("POST", f"/train/{name}?run_sync=true", body)
    weights = ROOT / "bundles" / name / "runs" / "model.pt"
    assert weights.is_file() and "Traceback" not in server.log.read_text()
