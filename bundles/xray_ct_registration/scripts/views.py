"""The radiographs of a patient that are registered together, at the resolution of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from .shared.drr.geometry import Detector

FLAT = 0.02  # of the image's range: how much the shadow of a blade may vary
RIM_PX = 3  # pixels along the edge of a collimator that are left out, blurred by the blade's penumbra
BORDER_PX = 4  # pixels along the border of the image that never count: a blade may cover too few of them to be seen
MIN_INSIDE = 0.2  # share of the image that has to remain


@dataclass(frozen=True)
class RadiographView:
    """One radiograph.

    Attributes:
        image: (1, 1, rows, columns) float32, any scale, bright where much is absorbed.
        mask: (1, 1, rows, columns) float32, 1 where the image counts.
        detector: its detector.
        camera_to_first: (4, 4) float64, this camera in the frame of the first view's; the identity for the first.
    """

    image: Tensor
    mask: Tensor
    detector: Detector
    camera_to_first: Tensor

    def reduced(self, factor: float) -> RadiographView:
        """The view with pixels of ``factor`` times the size (area averages); the same view for a factor of 1."""
        rows, columns = (max(12, round(size / factor)) for size in self.image.shape[-2:])
        if (rows, columns) == tuple(self.image.shape[-2:]):
            return self
        size = (rows, columns)
        image = F.interpolate(self.image, size=size, mode="bilinear", antialias=True, align_corners=False)
        mask = F.interpolate(self.mask, size=size, mode="bilinear", antialias=True, align_corners=False)
        return RadiographView(image, (mask > 0.99).to(mask), self.detector.resized(rows, columns), self.camera_to_first)

    def to(self, device: torch.device) -> RadiographView:
        """Images on a device; the geometry stays where it is."""
        return RadiographView(self.image.to(device), self.mask.to(device), self.detector, self.camera_to_first)


def exposed(image: Tensor) -> Tensor:
    """Mask (rows, columns) bool of an image (rows, columns): False in flat areas along its border.

    Flat areas of the darkest or brightest value that touch the border are the shadow of a collimator, a console's
    shutter, or air; none of them tells where the patient is. The rim next to them is left out as well. Where almost
    nothing would remain, the whole image counts. `BORDER_PX` along the border are left out in any case: a strip of a
    blade one pixel wide is too thin to be told from anatomy, and its edge would outweigh the patient.
    """
    values = image.detach().cpu().float()
    low, high = float(values.min()), float(values.max())
    mask = torch.zeros_like(values, dtype=torch.bool)
    rows, columns = (min(BORDER_PX, size // 16) for size in values.shape)
    mask[rows : len(mask) - rows, columns : mask.shape[1] - columns] = True
    whole = mask.clone()
    if high <= low:
        return mask
    for end in (low, high):
        flat = ((values - end).abs() <= FLAT * (high - low)).numpy()
        labels, _ = ndimage.label(ndimage.binary_opening(flat, iterations=1))
        border = set(labels[0]) | set(labels[-1]) | set(labels[:, 0]) | set(labels[:, -1])
        for label in border - {0}:
            area = labels == label
            if area.sum() > 2 * sum(image.shape) / 4:
                mask &= ~torch.from_numpy(ndimage.binary_dilation(area, iterations=RIM_PX))
    return mask if float(mask.float().mean()) > MIN_INSIDE else whole


def make_view(image: Tensor, detector: Detector, camera_to_first: Tensor | None = None) -> RadiographView:
    """View of an image (rows, columns) of a detector.

    Raises:
        ValueError: where image and detector differ in size.
    """
    if tuple(image.shape) != (detector.rows, detector.columns):
        raise ValueError(f"image {tuple(image.shape)} for a detector of {detector.rows} x {detector.columns}")
    pose = torch.eye(4, dtype=torch.float64) if camera_to_first is None else camera_to_first.double()
    return RadiographView(image.float()[None, None], exposed(image).float()[None, None], detector, pose)


def view_poses(first: Tensor, views: Sequence[RadiographView]) -> list[Tensor]:
    """Camera poses (B, 4, 4) of each view from those of the first."""
    return [first @ view.camera_to_first.to(first) for view in views]
