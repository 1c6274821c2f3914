"""A CT through MONAI's SegResNet as `wholeBody_ct_segmentation` configures it: `segresnet_ct.py CT OUT`.

Random weights, which cost what trained ones do; transforms, network and windows of its `inference.json`. 1.5 mm where
that fits into memory, else 3 mm, its low-resolution variant; the spacing is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import SegResNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureTyped,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
    ScaleIntensityd,
    Spacingd,
)
from nibabel.nifti1 import Nifti1Image

CHANNELS = 105
FINE_MM, COARSE_MM = 1.5, 3.0
BASE_BYTES, COPIES = 3e9, 2.3  # libraries and one window; logits and probabilities of the whole CT


def available_bytes() -> float:
    """Memory that new processes can have without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def chosen_spacing(ct: str) -> float:
    """Millimetres of the voxels whose 105 probabilities fit into memory."""
    header = Nifti1Image.from_filename(ct).header
    extent = float(np.prod(header.get_data_shape()) * np.prod(header.get_zooms()))
    wanted = BASE_BYTES + COPIES * 4 * CHANNELS * extent / FINE_MM**3
    return FINE_MM if available_bytes() > wanted else COARSE_MM


def main(ct: str, out: str) -> None:
    spacing = chosen_spacing(ct)
    prepare = Compose(
        [
            LoadImaged("image", ensure_channel_first=True),
            EnsureTyped("image"),
            Orientationd("image", axcodes="RAS"),
            Spacingd("image", pixdim=[spacing] * 3, mode="bilinear"),
            NormalizeIntensityd("image", nonzero=True),
            ScaleIntensityd("image", minv=-1.0, maxv=1.0),
        ]
    )
    network = SegResNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=CHANNELS,
        init_filters=32,
        blocks_down=[1, 2, 2, 4],
        blocks_up=[1, 1, 1],
        dropout_prob=0.2,
    ).eval()
    windows = SlidingWindowInferer(
        roi_size=(96, 96, 96), sw_batch_size=1, overlap=0.25, padding_mode="replicate", mode="gaussian"
    )
    data = list_data_collate([prepare({"image": ct})])
    with torch.no_grad():
        data["pred"] = windows(data["image"], network)
    finish = Compose(
        [
            Activationsd("pred", softmax=True),
            AsDiscreted("pred", argmax=True),
            Invertd("pred", prepare, orig_keys="image", nearest_interp=True, to_tensor=True),
            SaveImaged("pred", output_dir=str(Path(out).parent), output_postfix="", output_dtype="uint8",
                       separate_folder=False, print_log=False),
        ]
    )  # fmt: skip
    for item in decollate_batch(data):
        finish(item)
    print(f"SegResNet at {spacing} mm")


if __name__ == "__main__":
    main(*sys.argv[1:])
