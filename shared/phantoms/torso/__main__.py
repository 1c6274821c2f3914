"""Command line: `python -m scripts.shared.phantoms.torso --output_dir demo --count 4` (in a bundle)."""

import fire

from .dataset import write_torso_dataset

if __name__ == "__main__":
    fire.Fire(write_torso_dataset)
