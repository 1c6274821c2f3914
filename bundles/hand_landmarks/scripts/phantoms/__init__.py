"""Procedural hand radiographs.

Command line, in the bundle: `python -m scripts.phantoms --output_dir demo --count 4`.
"""

from .phantom import HandPhantom, make_hand, write_hand_dataset

__all__ = ["HandPhantom", "make_hand", "write_hand_dataset"]
