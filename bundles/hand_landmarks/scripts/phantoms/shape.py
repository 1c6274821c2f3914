"""Statistical shape of the 37 hand landmarks: fit, load, and draw random hands in millimetres.

The shape frame is that of a left hand seen palm down: x to the thumb, y to the forearm, mm, origin at the centroid,
scale fixed by the wrist distance (`WRIST_MM`). `hand_shape.json` holds the mean and the modes that `fit_shape_model`
found on the training part of 112 annotated radiographs: statistics, rounded to 0.1 mm (mean) and 0.01 mm (modes).
"""

import json
from pathlib import Path

import numpy as np

from ..hand_anatomy import HAND_FINGERS, WRIST, WRIST_MM

_SHAPE_MODEL = json.loads((Path(__file__).parent / "hand_shape.json").read_text())
MEAN_SHAPE = np.array(_SHAPE_MODEL["mean"], dtype=float)
"""Mean landmarks, (37, 2) mm."""
SHAPE_MODES = np.array(_SHAPE_MODEL["modes"], dtype=float)
"""Principal modes times their standard deviation, (K, 37, 2) mm."""


def rotation(degrees: float) -> np.ndarray:
    """2x2 matrix that turns (x, y) column vectors by `degrees` from x towards y."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def scale_to_wrist(points: np.ndarray) -> np.ndarray:
    """Centre (..., 37, 2) points and scale them so that the wrist distance is `WRIST_MM`."""
    wrist = np.linalg.norm(points[..., WRIST[0], :] - points[..., WRIST[1], :], axis=-1)
    centred = points - points.mean(axis=-2, keepdims=True)
    return centred * (WRIST_MM / wrist)[..., None, None]


def rotate_onto(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotate centred (N, 2) points onto centred `target` in the least-squares sense (no scaling, no reflection)."""
    dot = np.sum(points * target)
    cross = np.sum(points[:, 0] * target[:, 1] - points[:, 1] * target[:, 0])
    return points @ rotation(np.rad2deg(np.arctan2(cross, dot))).T


def fit_shape_model(points: np.ndarray, modes: int = 12) -> dict[str, list]:
    """Fit mean and modes to landmarks of left hands; `json.dump` of the result is `hand_shape.json`.

    Every hand is scaled to the wrist distance, rotated onto the mean (generalised Procrustes analysis, ten rounds
    that start from the first hand), and the principal components of the residuals are kept.

    Args:
        points: (N, 37, 2) landmarks, pixels of each image, x to the right and y down.
        modes: number of principal components kept.
    """
    shapes = scale_to_wrist(np.asarray(points, dtype=float))
    mean = shapes[0]
    for _ in range(10):
        shapes = np.stack([rotate_onto(shape, mean) for shape in shapes])
        mean = shapes.mean(axis=0)
    residuals = (shapes - mean).reshape(len(shapes), -1)
    _, singular, components = np.linalg.svd(residuals, full_matrices=False)
    scaled = components[:modes] * (singular[:modes, None] / np.sqrt(len(shapes)))
    return {"mean": mean.round(1).tolist(), "modes": scaled.reshape(-1, *mean.shape).round(2).tolist()}


def bend_fingers(shape: np.ndarray, rng: np.random.Generator, amount: float = 1.0) -> np.ndarray:
    """Turn every finger segment of a (37, 2) shape about its joint by a few random degrees, tips carried along."""
    shape = shape.copy()
    for finger, chain in HAND_FINGERS.items():
        spread = (6.0, 5.0) if finger == "thumb" else (2.5, 2.5, 3.5)
        for joint, sigma in enumerate(spread):
            turn = rotation(amount * sigma * float(np.clip(rng.normal(), -2, 2)))
            stretch = 1 + 0.02 * float(np.clip(rng.normal(), -2, 2))
            moved, pivot = list(chain[joint + 1 :]), shape[chain[joint]]
            shape[moved] = pivot + stretch * (shape[moved] - pivot) @ turn.T
    return shape


def fingers_are_apart(shape: np.ndarray, minimum_mm: float = 15.0) -> bool:
    """True where the joints of neighbouring fingers keep at least `minimum_mm` (soft tissue does not cross)."""
    chains = [shape[list(chain)] for chain in HAND_FINGERS.values()]
    gaps = [np.linalg.norm(a[:, None] - b[None], axis=-1).min() for a, b in zip(chains[:-1], chains[1:], strict=True)]
    return min(gaps) >= minimum_mm


def random_shape(rng: np.random.Generator) -> np.ndarray:
    """Draw one left hand: (37, 2) mm, centred, wrist distance exactly `WRIST_MM`."""
    for attempt in range(50):
        amount = 1.0 - 0.02 * attempt  # ends near the mean shape, whose fingers are apart
        weights = amount * np.clip(rng.normal(size=len(SHAPE_MODES)), -2, 2)
        shape = bend_fingers(MEAN_SHAPE + np.tensordot(weights, SHAPE_MODES, axes=1), rng, amount)
        if fingers_are_apart(shape):
            return scale_to_wrist(shape)
    return scale_to_wrist(MEAN_SHAPE)
