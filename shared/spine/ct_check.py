"""What makes the results of the spine bundles less exact."""

from __future__ import annotations

from monai.data import MetaTensor

from ..geometry.frames import voxel_sizes
from ..geometry.grids import volume_affine

THICK_MM = 4.0


def ct_warnings(volume: MetaTensor) -> list[str]:
    """Sentences about what makes the results of a CT (1, X, Y, Z) less exact."""
    coarse = float(voxel_sizes(volume_affine(volume)).max())
    return [f"slices are {coarse:.1f} mm apart: heights and borders are less exact"] if coarse > THICK_MM else []
