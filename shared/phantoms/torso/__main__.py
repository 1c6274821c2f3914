"""Command line: `python -m scripts.shared.phantoms.torso --output_dir demo --count 4` (in a bundle)."""

from ...engines.terminal import run_command
from .dataset import write_torso_dataset

if __name__ == "__main__":
    run_command(write_torso_dataset)
