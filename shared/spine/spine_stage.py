"""First stage: where the spine is, from one heatmap of the whole CT at a coarse spacing.

Payer et al., VISAPP 2020. All positions are RAS millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from ..engines.patches import Network, pad_to_multiple, run_network
from ..engines.settings import flag
from ..geometry.frames import transform_points
from ..geometry.grids import normalize_hu, to_grid, volume_affine
from ..geometry.masks import largest_component
from ..geometry.volume_box import file_name
from ..io.errors import CaseError

BODY = -0.3  # normalised intensity above which a voxel belongs to the body
MIDLINE_MM = 70.0
NO_SPINE_ADVICE = "give a CT that shows at least one vertebra, in HU"


@dataclass(frozen=True)
class SpineRegion:
    """Where the spine lies.

    Attributes:
        low_mm: lowest corner (3,) of the box around the vertebral bodies, RAS mm, axes of the patient.
        high_mm: highest corner (3,).
        centroid_mm: centre of mass (3,) of the heatmap inside the region.
        peak: highest value of the heatmap; about 1 where the network is certain.
    """

    low_mm: np.ndarray
    high_mm: np.ndarray
    centroid_mm: np.ndarray
    peak: float

    def widened(self, margin_mm: float | tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Corners with a margin on every side, one number or one per axis."""
        margin = np.broadcast_to(np.asarray(margin_mm, dtype=float), 3)
        return self.low_mm - margin, self.high_mm + margin


def spine_input(
    volume: MetaTensor, spacing_mm: float = 8.0, smoothing_sigma: float = 0.75, multiple: int = 16
) -> MetaTensor:
    """Network input of the first stage.

    Args:
        volume: (1, X, Y, Z) HU with its affine.
        spacing_mm: of the grid.
        smoothing_sigma: of the Gaussian before resampling, in voxels of the grid.
        multiple: the network wants sizes that are multiples of it; air is added at the far ends.

    Returns:
        (1, x, y, z) normalised intensities on a grid along the patient's axes around the whole CT, with its affine.
    """
    grid = to_grid(volume, spacing_mm, smoothing_sigma)
    values = pad_to_multiple(normalize_hu(grid.as_tensor().float()), multiple, value=-1.0)
    return MetaTensor(values, affine=grid.affine)


def near_midline(heatmap: MetaTensor, image: MetaTensor, sigma_mm: float = MIDLINE_MM) -> MetaTensor:
    """A heatmap weighted by how near to the middle of the body its voxels lie.

    The spine runs near the middle of what a CT shows from left to right; shoulders, hips and arms do not.

    Args:
        heatmap: (1, x, y, z) with its affine.
        image: (1, x, y, z), the normalised intensities that it was made from.
        sigma_mm: of the Gaussian of the weight; wide, for spines that bend and images of a part of the body.
    """
    body = (image.as_tensor()[0] > BODY).double().sum(dim=1).cpu().numpy()  # (x, z)
    index = np.arange(body.shape[0])
    # slices without a body, beyond the ends of the image, take over from their neighbours
    counts, sums = (
        ndimage.gaussian_filter1d(values, 3.0) for values in (body.sum(axis=0), (body.T * index).sum(axis=1))
    )
    whole = (body.T * index).sum() / max(body.sum(), 1.0)
    middle = np.where(counts > 1.0, sums / np.maximum(counts, 1.0), whole)  # (z,)
    spacing = float(np.abs(volume_affine(image)[0, 0]))
    weight = np.exp(-0.5 * ((index[:, None] - middle) * spacing / sigma_mm) ** 2)[None, :, None]
    weighted = heatmap.as_tensor().float().cpu() * torch.as_tensor(weight, dtype=torch.float32)
    return MetaTensor(weighted, affine=torch.as_tensor(volume_affine(heatmap)))


def spine_region(heatmap: MetaTensor, threshold: float = 0.3) -> SpineRegion:
    """The largest component of the voxels above a fraction of the maximum.

    Args:
        heatmap: (1, x, y, z) with its affine along the patient's axes.
        threshold: the fraction.
    """
    values = heatmap.as_tensor()[0].float().cpu().numpy()
    affine = volume_affine(heatmap)
    peak = float(values.max())
    inside = largest_component(values > threshold * peak, np.ones((3, 3, 3)))
    if peak <= 0 or not inside.any():
        centre = transform_points(affine, (np.array(values.shape) - 1) / 2)
        return SpineRegion(centre, centre, centre, peak)
    indices = np.argwhere(inside)
    ends = transform_points(affine, np.array([indices.min(axis=0) - 0.5, indices.max(axis=0) + 0.5]))
    weights = values[inside]
    centroid = transform_points(affine, (indices * weights[:, None]).sum(axis=0) / weights.sum())
    return SpineRegion(ends.min(axis=0), ends.max(axis=0), centroid, peak)


def check_spine(region: SpineRegion, name: str, min_peak: float) -> None:
    """Refuse a CT in which nothing looks like a spine.

    Raises:
        CaseError: when the heatmap stays below ``min_peak``.
    """
    if not region.peak >= min_peak:  # NaN as well
        raise CaseError(name, f"shows no spine (heatmap {region.peak:.2f}, {min_peak:g} needed)", NO_SPINE_ADVICE)


class SpineStage:
    """The first stage as a whole.

    Args:
        network: (1, 1, x, y, z) normalised intensities to a heatmap of the same size.
        spacing_mm: of the grid.
        smoothing_sigma: as :func:`spine_input` takes it.
        threshold: as :func:`spine_region` takes it.
        min_peak: lowest peak of a heatmap that shows a spine.
        amp: whether to reduce the precision.
    """

    def __init__(
        self,
        network: Network,
        spacing_mm: float = 8.0,
        smoothing_sigma: float = 0.75,
        threshold: float = 0.3,
        min_peak: float = 0.25,
        amp: bool = True,
    ) -> None:
        self.network, self.spacing_mm, self.smoothing_sigma = network, spacing_mm, smoothing_sigma
        self.threshold, self.min_peak, self.amp = threshold, min_peak, flag("amp", amp)

    def __call__(self, volume: MetaTensor) -> tuple[SpineRegion, MetaTensor]:
        """The region of the spine, and the heatmap (1, x, y, z) that it comes from.

        Raises:
            CaseError: when there is no spine.
        """
        image = spine_input(volume, self.spacing_mm, self.smoothing_sigma)
        values = run_network(self.network, image.as_tensor()[None], self.amp)[0].cpu()
        heatmap = near_midline(MetaTensor(values, affine=image.affine), image)
        region = spine_region(heatmap, self.threshold)
        check_spine(region, file_name(volume), self.min_peak)
        return region, heatmap
