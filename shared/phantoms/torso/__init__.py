"""Procedural torso CTs with exact label maps and body centres: training data and data of demos and tests.

Command line: `python -m scripts.shared.phantoms.torso --output_dir demo --count 4` in a bundle,
`python -m shared.phantoms.torso` elsewhere.
"""

from .canvas import TISSUES
from .dataset import write_torso_dataset
from .phantom import ANOMALIES, REGIONS, TorsoPhantom, make_torso

__all__ = ["ANOMALIES", "REGIONS", "TISSUES", "TorsoPhantom", "make_torso", "write_torso_dataset"]
