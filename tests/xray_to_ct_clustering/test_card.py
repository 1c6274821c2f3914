"""What the model card shows works as it is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

BUNDLE = Path(__file__).parents[2] / "bundles" / "xray_to_ct_clustering"


def test_python_of_the_card_runs_with_the_weights_and_with_a_checkpoint(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (BUNDLE / "docs" / "README.md").read_text(), flags=re.S)
    weights = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    torch.save({"trainer": {"epoch": 1}, "network": weights}, tmp_path / "checkpoint_last.pt")
    code += f"""
print(tuple(pred_volume.shape), tuple(cluster_map.shape))
first = model.state_dict()["head.weight"].clone()
torch.nn.init.zeros_(model.head.weight)
model.load_state_dict(torch.load({str(tmp_path / "checkpoint_last.pt")!r})["network"])
print(torch.equal(first, model.head.weight))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=BUNDLE, text=True, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["(1, 1, 64, 64, 64) (1, 4096, 64)", "True"]
