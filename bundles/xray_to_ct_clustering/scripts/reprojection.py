"""Does a predicted volume show what the X-rays show? The volume is rendered again and compared with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .hounsfield import HU_RANGE, intensity_to_hu
from .shared.drr.attenuation import hu_to_attenuation
from .shared.drr.rendering import render
from .shared.drr.similarity import multiscale_ncc
from .shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine


class ReprojectionLoss(nn.Module):
    """1 - similarity between X-rays and the renderings of a predicted volume in the same two views.

    The similarity is normalised cross-correlation over the whole image and over patches, because the grey values of a
    real X-ray say nothing about absolute attenuation.

    Args:
        geometry: of the views.
        spacing_mm: edge of a voxel.
        hu_range: of the intensities 0 to 1.
        patches: sides of the compared patches [pixel]; None: the whole image.
    """

    def __init__(
        self,
        geometry: BiplanarGeometry,
        spacing_mm: float,
        hu_range: Sequence[float] = HU_RANGE,
        patches: Sequence[int | None] = (None, 13),
    ) -> None:
        super().__init__()
        self.poses, self.detector = geometry.poses(), geometry.detector()
        self.spacing_mm, self.hu_range, self.patches = spacing_mm, tuple(hu_range), tuple(patches)

    def render(self, volume: Tensor) -> Tensor:
        """Attenuation integrals (B, 2, rows, columns), frontal and lateral, of intensities (B, 1, X, Y, Z)."""
        attenuation = hu_to_attenuation(intensity_to_hu(volume.float(), self.hu_range))
        affine = volume_affine(volume.shape[2:], self.spacing_mm)
        return torch.stack([render(one, self.poses, self.detector, affine)[:, 0] for one in attenuation])

    def similarity(self, volume: Tensor, xrays: Tensor) -> Tensor:
        """Similarity (B, 2) in [-1, 1] of each view.

        Args:
            volume: intensities (B, 1, X, Y, Z).
            xrays: (B, 2, rows, columns) of the geometry's size, any scale, bright where much is absorbed.

        Raises:
            ValueError: for images of another size.
        """
        if xrays.shape[1:] != (2, self.detector.rows, self.detector.columns):
            raise ValueError(
                f"X-rays {tuple(xrays.shape)} for two views of {self.detector.rows} x {self.detector.columns} pixels"
            )
        rendered = self.render(volume).flatten(0, 1)[:, None]
        observed = xrays.float().flatten(0, 1)[:, None]
        return multiscale_ncc(rendered, observed, self.patches).unflatten(0, (-1, 2))

    def forward(self, volume: Tensor, xrays: Tensor) -> Tensor:
        """Mean of 1 - similarity, a scalar in [0, 2]; arguments and errors as of `similarity`."""
        return 1 - self.similarity(volume, xrays).mean()
