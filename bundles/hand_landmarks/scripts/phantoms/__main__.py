"""Command line, in the bundle: `python -m scripts.phantoms --output_dir demo --count 4`."""

import fire

from .phantom import write_hand_dataset

if __name__ == "__main__":
    fire.Fire(write_hand_dataset)
