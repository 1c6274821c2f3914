"""Do a frontal and a lateral X-ray show the same patient? What every row of both sees, compared along the body.

Every row of both X-rays sees the same slice of the patient. Four profiles of the rows are compared; how well those of
X-rays of different patients agree is in ``pair_agreement.json``, which `scripts.calibrate_pairs` measures.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor

OTHERS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))  # X-rays of different patients
MIDDLE = (0.15, 0.85)  # rows that count, as shares of the height
REACH = 1 / 8  # of the height that the views may be shifted against each other
LUNG = 0.35  # of the scaled images: less is lung or air
FINE = 1 / 16  # of the height: slower changes of the slope do not count


def profiles(image: np.ndarray) -> dict[str, np.ndarray]:
    """Profiles (rows,) of an image (rows, columns), scaled as the network takes it.

    ``sum`` and ``median`` of the attenuation, ``slope`` down the image without slow changes, ``lung``: share of pixels
    that absorb little.
    """
    rows = len(image)
    slope = np.gradient(gaussian_filter(image, rows / 128), axis=0).mean(axis=1)
    return {
        "sum": image.sum(axis=1),
        "median": np.median(image, axis=1),
        "slope": slope - gaussian_filter1d(slope, FINE * rows),
        "lung": (image < LUNG).mean(axis=1),
    }


def without_trend(values: np.ndarray) -> np.ndarray:
    """Values (N,) without their mean and slope, of length 1."""
    line = np.stack([np.ones(len(values)), np.linspace(-1, 1, len(values))], axis=1)
    rest = values - line @ np.linalg.lstsq(line, values, rcond=None)[0]
    return rest / max(float(np.linalg.norm(rest)), 1e-9)


def best_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Largest correlation of two profiles (rows,) over the shifts of one against the other."""
    rows, reach = len(first), round(REACH * len(first))
    found = []
    for shift in range(-reach, reach + 1, max(1, rows // 64)):
        low, high = (max(round(MIDDLE[0] * rows), shift), min(round(MIDDLE[1] * rows), rows + shift))
        found.append(float(without_trend(first[low:high]) @ without_trend(second[low - shift : high - shift])))
    return max(found)


def profile_correlations(images: Tensor) -> dict[str, float]:
    """`best_correlation` of every profile of a pair (2, rows, columns)."""
    frontal, lateral = (profiles(image.double().numpy()) for image in images)
    return {name: best_correlation(frontal[name], lateral[name]) for name in OTHERS}


def pair_agreement(images: Tensor) -> float:
    """How much better a pair (2, rows, columns) agrees than X-rays of different patients, in standard deviations."""
    found = profile_correlations(images)
    return float(np.mean([(found[name] - other["mean"]) / other["sd"] for name, other in OTHERS.items()]))
