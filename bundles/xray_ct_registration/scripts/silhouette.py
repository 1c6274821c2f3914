"""What counts of a radiograph where the CT holds one bone: the surroundings of the bone's shadow, and nothing else.

Other bones and soft tissue are in the X-ray, but not in the CT; over the whole picture they would decide.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared.drr.geometry import Detector
from .views import RadiographView

SHADOW = 0.02  # of the strongest absorption: where the bone's shadow begins
MARGIN_PX = 8  # around the shadow, at the resolution of the stage
LEAST_SEEN = 0.2  # of the shadow
LEAST_PX = 12  # along each side of what is cut out


def cropped(detector: Detector, top: int, left: int, rows: int, columns: int) -> Detector:
    """The part of a detector that begins at a pixel; it may reach beyond the edge."""
    u, v = detector.principal_point
    offset = (
        (u - left - (columns - 1) / 2) * detector.pixel_mm[0],
        (v - top - (rows - 1) / 2) * detector.pixel_mm[1],
    )
    return Detector(rows, columns, detector.pixel_mm, detector.sdd, offset)


def shadow(rendered: Tensor) -> Tensor:
    """Mask (B, 1, rows, columns) float of where renderings absorb; empty where nothing is rendered."""
    strongest = rendered.detach().amax(dim=(-2, -1), keepdim=True)
    return ((rendered.detach() > SHADOW * strongest) & (strongest > 0)).to(rendered.dtype)


def around_shadow(view: RadiographView, rendered: Tensor, margin_px: int = MARGIN_PX) -> RadiographView | None:
    """A view cut down to the shadow of what is rendered, dilated; its mask is 0 outside of that.

    Args:
        view: one X-ray.
        rendered: (1, 1, rows, columns), on the view's detector.
        margin_px: of the dilation.

    Returns:
        the view; None where hardly anything of the shadow is inside the X-ray.
    """
    whole = shadow(rendered).to(view.mask)
    seen = float((whole * view.mask).sum())
    if seen < max(LEAST_PX, LEAST_SEEN * float(whole.sum())):
        return None
    near = F.max_pool2d(whole, 2 * margin_px + 1, 1, margin_px) * view.mask
    rows, columns = (torch.nonzero(near[0, 0].any(dim=1 - axis))[:, 0] for axis in range(2))
    spans = []
    for found, size in ((rows, near.shape[-2]), (columns, near.shape[-1])):
        low, high = int(found[0]), int(found[-1]) + 1
        low = max(0, min(low, size - LEAST_PX))
        spans.append((low, min(size, max(high, low + LEAST_PX))))
    (top, bottom), (left, right) = spans
    return replace(
        view,
        image=view.image[..., top:bottom, left:right],
        mask=near[..., top:bottom, left:right],
        detector=cropped(view.detector, top, left, bottom - top, right - left),
    )
