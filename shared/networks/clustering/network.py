"""The generator as a network of one tensor, for exports and inferers."""

from __future__ import annotations

from torch import Tensor, nn

from .generator import SpatialClusteringCTGenerator


class BiplanarCTNetwork(nn.Module):
    """Both X-rays as channels of one image to the volume.

    Training uses ``network.generator``, which has the same weights and returns the clusters as well.

    Args:
        generator: the generator.

    Input (B, 2, rows, columns), frontal and lateral; output (B, 1, X, Y, Z), 0 to 1 over the range of the CT.
    """

    def __init__(self, generator: SpatialClusteringCTGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor) -> Tensor:
        return self.generator(image[:, :1], image[:, 1:])["pred_volume"].clamp(min=0.0, max=1.0)
