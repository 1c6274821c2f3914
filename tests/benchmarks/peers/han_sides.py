"""One side of the benchmark of han_segmentation, in a process of its own: `han_sides.py SIDE CASE`.

SIDE is "ours" (everything from the file of a CT to the label map on its grid), or "swin_unetr" or "unetr" (one forward
pass of MONAI's network over the same number of voxels, nothing else). Prints the seconds and the peak of the memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNETR, SwinUNETR
from monai.transforms import Compose

BUNDLE = Path(__file__).resolve().parents[3] / "bundles" / "han_segmentation"
SIZE = (160, 160, 96)
CLASSES = 31


def ours(case: str) -> Callable[[], object]:
    """Our inference as `configs/inference.json` has it, but for the results of people and disks."""
    sys.path.insert(0, str(BUNDLE))
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.json"))
    parser["bundle_root"], parser["dataset_dir"], parser["output_dir"] = str(BUNDLE), case, None
    names = ("network", "preprocessing", "inferer", "postprocessing", "cases")
    network, before, inferer, after, cases = (parser.get_parsed_content(name) for name in names)
    finish = Compose(after.transforms[:-1])  # the last one saves

    def infer() -> object:
        item = before(dict(cases[0]))
        with torch.no_grad():
            item["pred"] = inferer(item["image"][None], network)[0]
        return finish(item)["pred"]

    return infer


def forward(network: torch.nn.Module) -> Callable[[], object]:
    """One pass of a network over an image of two channels."""
    network.eval()
    image = torch.rand(1, 2, *SIZE)

    def run() -> object:
        with torch.no_grad():
            return network(image)

    return run


def main(side: str, case: str) -> None:
    if side == "ours":
        function = ours(case)
    elif side == "swin_unetr":
        function = forward(SwinUNETR(in_channels=2, out_channels=CLASSES, feature_size=48))
    else:
        function = forward(UNETR(in_channels=2, out_channels=CLASSES, img_size=SIZE))
    function()
    start = time.perf_counter()
    function()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mb": memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
