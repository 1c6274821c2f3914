"""Command line, in the bundle: `python -m scripts.phantoms --output_dir demo --count 4`."""

import fire

from .dataset import write_head_neck_dataset

if __name__ == "__main__":
    fire.Fire(write_head_neck_dataset)
