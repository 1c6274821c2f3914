"""Whether the values of a CT are Hounsfield units, before a network makes something up about other values.

Air is -1000 HU, fat about -100, muscle and organs 30 to 70. Whatever part of a body a CT shows, some of that is in it.
A DICOM series whose rescale was not applied, or an unsigned copy, is shifted by 1024: that is put right where fat and
soft tissue stand in their places above it. Everything else that is no CT is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter1d

SHIFT_HU = 1024
SAMPLES = 400_000
FAT_HU, SOFT_HU = (-130.0, -60.0), (0.0, 100.0)
TISSUE_HU = (-150.0, 140.0)
BIN_HU = 10.0
AIR_HU = -900.0
OTHER_MODALITIES = {"MR": "an MR", "PT": "a PET", "NM": "a scintigram", "US": "an ultrasound"}


@dataclass(frozen=True)
class HuState:
    """What the values of a volume are.

    Attributes:
        shift: to be added to make them HU.
        words: "as stored", or what was done, for the JSON of the results.
        problem: why they are no HU, None where they are or can be made so.
    """

    shift: int = 0
    words: str = "as stored"
    problem: str | None = None


def sampled(volume: MetaTensor) -> np.ndarray:
    """At most :data:`SAMPLES` values of a volume, evenly spread, float32."""
    flat = volume.as_tensor().flatten()
    return flat[:: max(1, len(flat) // SAMPLES)].to(torch.float32).cpu().numpy()


def without_padding(values: np.ndarray) -> np.ndarray:
    """The values without the darkest one, where that fills an area and nothing is near it."""
    darkest = float(values.min())
    others = values[values > darkest]
    filled = len(values) - len(others)
    return others if len(others) and filled > 0.01 * len(values) and others.min() - darkest > 50 else values


def peak(histogram: np.ndarray, centres: np.ndarray, low: float, high: float) -> int | None:
    """Bin of the highest value of a histogram within limits, None where it lies at one of them."""
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    top = int(inside[histogram[inside].argmax()])
    return None if top in (inside[0], inside[-1]) else top


def tissue_peaks(values: np.ndarray, shift: float) -> tuple[float, float] | None:
    """Where fat and soft tissue lie in values that are shifted, None where the two do not stand out."""
    edges = np.arange(TISSUE_HU[0], TISSUE_HU[1] + BIN_HU, BIN_HU) + shift
    histogram = gaussian_filter1d(np.histogram(values, edges)[0].astype(float), 1.0)
    centres = (edges[:-1] + edges[1:]) / 2
    fat = peak(histogram, centres, FAT_HU[0] + shift, FAT_HU[1] + shift)
    soft = peak(histogram, centres, SOFT_HU[0] + shift, SOFT_HU[1] + shift)
    if fat is None or soft is None:
        return None
    valley = histogram[fat : soft + 1].min()
    clear = valley < 0.8 * min(histogram[fat], histogram[soft])
    return (float(centres[fat]), float(centres[soft])) if clear else None


def looks_shifted(core: np.ndarray) -> bool:
    """Whether most of what is dense in values without padding lies where soft tissue + 1024 does, and air nowhere."""
    dense = core[core > 400]
    if len(dense) < 0.002 * len(core) or (core < -100).mean() > 0.005:
        return False
    return bool(((dense >= TISSUE_HU[0] + SHIFT_HU) & (dense <= TISSUE_HU[1] + SHIFT_HU)).mean() > 0.6)


def hu_state(values: np.ndarray) -> HuState:
    """What the values (N,) of a volume are, air, fat and soft tissue taken together."""
    low, high = (float(np.percentile(values, q)) for q in (0.5, 99.5))
    between = f"its values lie between {low:g} and {high:g}"
    if float(np.ptp(values)) < 100:
        return HuState(problem=f"its values span {float(np.ptp(values)):g} alone")
    core = without_padding(values)
    if looks_shifted(core):
        found = tissue_peaks(core, SHIFT_HU)
        if found is None:
            return HuState(problem=f"{between}, shifted perhaps, but fat and soft tissue do not stand out")
        fat, soft = found
        words = f"{SHIFT_HU} subtracted (fat lay at {fat:.0f}, soft tissue at {soft:.0f}: no rescale was applied)"
        return HuState(-SHIFT_HU, words)
    around = len(core) < len(values) and float(values.min()) <= AIR_HU  # a part of a body, cut out
    fatty = float((core < -30).mean())
    tissue = float(((core > -200) & (core < 250)).mean())
    if not around and (core < -150).mean() < 0.002 and not (fatty > 0.01 and tissue > 0.5):
        return HuState(problem=f"neither air nor fat is in it, {between}")
    if float((core > -250).mean()) < 0.002:
        return HuState(problem=f"nothing in it is as dense as a body, {between}")
    return HuState()
