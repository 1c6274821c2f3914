"""Procedural heads and necks: CT, T1 of a patient who lies differently, exact map of 30 organs at risk.

Command line, in the bundle: `python -m scripts.phantoms --output_dir demo --count 4`.
"""

from .dataset import write_head_neck_dataset
from .phantom import HeadNeckPhantom, make_head_neck

__all__ = ["HeadNeckPhantom", "make_head_neck", "write_head_neck_dataset"]
