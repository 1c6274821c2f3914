"""Properties and network of a bundle, asked from inside a process that runs in the bundle folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bundles.conftest import Bundle
from tests.bundles.processes import CONFIGS, run_quickly
from tests.bundles.spec import Data

ASK = """
import json, sys
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

sys.path.insert(0, ".")
question = json.loads(sys.argv[1])
answer = {"missing": {}}
for kind, files, options in question["workflows"]:
    workflow = ConfigWorkflow(["configs/" + f for f in files], workflow_type=kind, logging_file=False, **options)
    workflow.initialize()
    answer["missing"][" + ".join(files)] = workflow.check_properties()

files = {"meta_file": "configs/metadata.json", "config_file": "configs/inference.json"}
verify_net_in_out("network_def", device="cpu", **files, **question["verify"])

parser = ConfigParser()
parser.read_config("configs/inference.json")
network = parser.get_parsed_content("network_def").eval()
network.load_state_dict(torch.load("models/model.pt", weights_only=True))
schema = torch.jit.script(network).forward.schema
answer["tensors"] = [len(schema.arguments) - 1, [str(r.type) for r in schema.returns]]
print(json.dumps(answer))
"""


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with paths as text."""
    return {k: v if v is None or isinstance(v, (int, float, list, bool)) else str(v) for k, v in options.items()}


def test_properties_and_network(bundle: Bundle, data: Data, work: Path) -> None:
    output = {"output_dir": work / "asked"}
    workflows = [
        ("train", CONFIGS["train"], plain({**bundle.spec.train, **data.train, **output})),
        ("infer", CONFIGS["inference"], plain({**data.inference, **output})),
    ]
    question = json.dumps({"workflows": workflows, "verify": dict(bundle.spec.verify)})
    done = run_quickly([sys.executable, "-c", ASK, question], bundle.path)
    assert done.returncode == 0, done.stdout[-6000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert {files: missing for files, missing in answer["missing"].items() if missing} == {}
    assert answer["tensors"] == [1, ["Tensor"]]  # one tensor in, one tensor out, and scriptable
