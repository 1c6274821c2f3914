"""Procedural CTs with label maps and body centres: ``python -m scripts.phantoms --output_dir demo --count 2``.

The options are those of :func:`~shared.phantoms.torso.dataset.write_torso_dataset`.
"""

from .shared.engines.terminal import run_command
from .shared.phantoms.torso.dataset import write_torso_dataset

if __name__ == "__main__":
    run_command(write_torso_dataset)
