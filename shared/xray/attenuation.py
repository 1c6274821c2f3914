"""Radiographs as attenuation: bright where much is absorbed, linear in the line integral as far as the file allows."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

Absorbing = Literal["auto", "bright", "dark", "intensity"]
ABSORBING = ("auto", "bright", "dark", "intensity")
SHOWN_PERCENTILES = (0.1, 99.9)  # collimator edges and burnt-in text lie outside


def attenuation(values: np.ndarray, absorbing: str) -> np.ndarray:
    """Pixel values as log attenuation, scaled to 0..1.

    Args:
        values: (rows, columns).
        absorbing: "bright" or "dark" where the values are linear in the attenuation, rising or falling; "intensity"
            where they are linear in the intensity at the detector, of which the logarithm is taken (Beer-Lambert).

    Returns:
        (rows, columns) float32.
    """
    values = values.astype(np.float64)
    if absorbing == "intensity":
        brightest = max(float(values.max()), 1e-12)
        values = -np.log(np.clip(values / brightest, 1 / 65536, 1.0))  # no detector resolves more than 16 bits
    elif absorbing == "dark":
        values = -values
    low, high = np.percentile(values, SHOWN_PERCENTILES)
    if high <= low:
        low, high = values.min(), values.max()
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def dicom_absorbing(data: Dataset) -> str:
    """How the stored values of a radiograph depend on what absorbs, from its header.

    The pixel intensity relationship and its sign say it (DICOM PS3.3 C.8.7.1.1.2 and C.8.11.3.1.2). Where they are
    missing it follows from how the image is to be shown: with bones bright, save for fluoroscopy.
    """
    relationship = str(data.get("PixelIntensityRelationship") or "").upper()
    sign = data.get("PixelIntensityRelationshipSign")
    if relationship == "LIN" and sign != -1:
        return "intensity"
    if sign in (1, -1):
        return "dark" if sign == 1 else "bright"
    if relationship == "LOG":
        return "dark"
    inverted = data.get("PhotometricInterpretation") == "MONOCHROME1"
    return "dark" if inverted != (data.get("Modality") in ("XA", "RF")) else "bright"
