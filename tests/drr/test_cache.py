"""The compiled kernels work under every name that they are imported by, whichever of them compiled first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RENDER = """
import sys
from importlib import import_module
import torch
drr = import_module(sys.argv[1] + ".drr")
pose = torch.eye(4, dtype=torch.float64)[None]
pose[0, :3, 3] = torch.tensor([4.0, 4.0, -500.0])
detector = drr.Detector(8, 8, (4.0, 4.0), 1000.0)
image = drr.render(torch.ones(1, 8, 8, 8), pose, detector, torch.eye(4, dtype=torch.float64), "joseph")
print(float(image.max()) > 0)
"""


def test_each_import_path_has_its_own_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    bundle = ROOT / "bundles" / "hand_landmarks"
    packages = {"shared": ROOT, "scripts.shared": bundle, "bundles.hand_landmarks.scripts.shared": ROOT}
    for package, folder in (*packages.items(), ("shared", ROOT)):
        command = [sys.executable, "-c", RENDER, package]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
        assert done.stdout.strip() == "True", done.stderr[-2000:]
    assert len(list((tmp_path / "monai-bundles" / "numba").iterdir())) == len(packages)
