"""Thirty organs of one CT of 160 x 160 x 96 voxels: our whole inference against one forward pass of MONAI's SwinUNETR
(feature size 48) and UNETR over as many voxels.

Each side runs in a process of its own, so that the peak of its memory is its own, imports included. Ours counts from
the file to the label map on the grid of the CT, with its second look at small organs; theirs is the network alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bundles.han_segmentation.scripts.phantoms import make_head_neck
from bundles.han_segmentation.scripts.phantoms.phantom import CT_HIGH, CT_LOW
from shared.io.itk_images import to_sitk, write_image
from tests.benchmarks.measure import row, run_script

NAMES = ["han/swin_unetr_time", "han/swin_unetr_memory", "han/unetr_time"]
SIZE = np.array([160, 160, 96])
SEED = 4300
SIDES = Path(__file__).parent / "peers" / "han_sides.py"


def run() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        phantom = make_head_neck(SEED, ((CT_HIGH - CT_LOW) / SIZE).tolist(), with_mr=False)
        assert phantom.ct.shape == tuple(SIZE)
        case = Path(folder) / "ct.nii.gz"
        write_image(to_sitk(phantom.ct, phantom.affine), case)
        sides = {}
        for side in ("ours", "swin_unetr", "unetr"):
            sides[side] = run_script(sys.executable, SIDES, side, case, threads=threads)
            print(f"{side}: {sides[side]['seconds']:.1f} s, {sides[side]['mb']:.0f} MB")
    ours = sides["ours"]
    return [
        row(NAMES[0], ours["seconds"], sides["swin_unetr"]["seconds"], "s", threads, lower_is_better=True),
        row(NAMES[1], ours["mb"], sides["swin_unetr"]["mb"], "MB", threads, lower_is_better=True),
        row(NAMES[2], ours["seconds"], sides["unetr"]["seconds"], "s", threads, lower_is_better=True),
    ]
