"""Command line, in the bundle: `python -m scripts.phantoms --output_dir demo --count 4`."""

from ..shared.engines.terminal import run_command
from .phantom import write_hand_dataset

if __name__ == "__main__":
    run_command(write_hand_dataset)
