"""Command line: `python -m scripts.shared.phantoms.head_neck --output_dir demo --count 4` (in a bundle)."""

import fire

from .dataset import write_head_neck_dataset

if __name__ == "__main__":
    fire.Fire(write_head_neck_dataset)
