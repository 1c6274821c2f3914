"""Properties and network of a bundle, asked from inside a process that runs in the bundle folder."""

from __future__ import annotations

import json
import sys

from tests.bundles.conftest import Bundle
from tests.bundles.processes import run

ASK = """
import json, sys
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

sys.path.insert(0, ".")
verify = json.loads(sys.argv[1])
answer = {}
for kind, files in (
    ("train", ["configs/train.json"]),
    ("train", ["configs/train.json", "configs/evaluate.json"]),
    ("train", ["configs/train.json", "configs/multi_gpu_train.json"]),
    ("infer", ["configs/inference.json"]),
    ("infer", ["configs/inference.json", "configs/multi_gpu_inference.json"]),
):
    workflow = ConfigWorkflow(files, workflow_type=kind, logging_file=False)
    answer[" + ".join(files)] = workflow.check_properties()

files = {"meta_file": "configs/metadata.json", "config_file": "configs/inference.json"}
verify_net_in_out("network_def", device="cpu", **files, **verify)

parser = ConfigParser()
parser.read_config("configs/inference.json")
network = parser.get_parsed_content("network_def").eval()
network.load_state_dict(torch.load("models/model.pt", weights_only=True))
schema = torch.jit.script(network).forward.schema
answer["network"] = [len(schema.arguments) - 1, [str(r.type) for r in schema.returns]]
print(json.dumps(answer))
"""


def test_properties_and_network(bundle: Bundle) -> None:
    done = run([sys.executable, "-c", ASK, json.dumps(dict(bundle.spec.verify))], bundle.path)
    assert done.returncode == 0, done.stdout[-6000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer.pop("network") == [1, ["Tensor"]]  # one tensor in, one tensor out, and scriptable
    assert {files: missing for files, missing in answer.items() if missing} == {}
