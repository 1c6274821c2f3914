"""Command line, in the bundle: `python -m scripts.phantoms --output_dir demo --count 4`."""

from ..shared.engines.terminal import run_command
from .dataset import write_head_neck_dataset

if __name__ == "__main__":
    run_command(write_head_neck_dataset)
