"""What a console did to the contrast of an X-ray, undone by comparison with a rendering of the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from .views import RadiographView

POWERS = (1, 2, 3, 5)
MOST_PIXELS = 4096  # of the fit


def curve_basis(values: np.ndarray) -> np.ndarray:
    """Increasing functions (N, 2 * len(POWERS) - 1) of values (N,) in [0, 1]: x^k, convex, and 1 - (1 - x)^k, concave.

    Sums of them with weights >= 0 are increasing, and reach every gamma between about 1/4 and 4 closely.
    """
    return np.stack([values**k for k in POWERS] + [1 - (1 - values) ** k for k in POWERS[1:]], axis=-1)


@dataclass(frozen=True)
class ContrastCurve:
    """An increasing curve of pixel values.

    Attributes:
        low: value that becomes 0.
        high: value from which on the curve is flat.
        weights: of `curve_basis`.
    """

    low: float
    high: float
    weights: np.ndarray

    def __call__(self, view: RadiographView) -> RadiographView:
        """The view with the curve applied to its image."""
        scaled = ((view.image - self.low) / (self.high - self.low)).clamp(0, 1).cpu().double().numpy()
        image = torch.from_numpy(curve_basis(scaled) @ self.weights).to(view.image)
        return replace(view, image=image)


def contrast_curve(view: RadiographView, rendered: Tensor) -> ContrastCurve | None:
    """The increasing curve that makes a view most like a rendering at about the right pose.

    The similarities of the registration ignore brightness and contrast, but not the curve of a console: with a strong
    gamma even the right pose looks poor, and a wrong one may look better. An increasing curve can neither invert a
    picture nor move an edge.

    Args:
        view: an X-ray.
        rendered: (1, 1, rows, columns), what it should look like.

    Returns:
        the curve; None where view and rendering go against each other.
    """
    inside = view.mask[0, 0] > 0.5
    values = view.image[0, 0][inside].double().cpu().numpy()
    target = rendered.detach()[0, 0][inside].double().cpu().numpy()
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return None
    step = max(1, len(values) // MOST_PIXELS)
    basis = curve_basis((values[::step] - low) / (high - low))
    # the constant is free: centred columns leave it out of the fit
    weights, _ = nnls(basis - basis.mean(axis=0), target[::step] - target[::step].mean())
    return ContrastCurve(low, high, weights) if weights.any() else None
