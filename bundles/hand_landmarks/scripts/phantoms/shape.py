"""Shape of the phantoms: random hands in millimetres from the statistics of the shipped landmark set.

The shape frame is that of a left hand seen palm down: x to the thumb, y to the forearm, mm, origin at the centroid,
scale fixed by the wrist (50 mm).
"""

import numpy as np

from ..landmark_set import read_landmark_set, scale_to_size

LANDMARKS = read_landmark_set()
MEAN_SHAPE = LANDMARKS.mean

HAND_FINGERS: dict[str, tuple[int, ...]] = {
    "thumb": (18, 19, 20),
    "index": (21, 22, 23, 24),
    "middle": (25, 26, 27, 28),
    "ring": (29, 30, 31, 32),
    "little": (33, 34, 35, 36),
}
"""Landmarks of each finger from the metacarpophalangeal joint to the tip."""

METACARPAL_BASES: dict[str, int] = {"thumb": 17, "index": 16, "middle": 15, "ring": 14, "little": 13}


def rotation(degrees: float) -> np.ndarray:
    """2x2 matrix that turns (x, y) column vectors by `degrees` from x towards y."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


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
    """Draw one left hand: (37, 2) mm, centred, the wrist exactly 50 mm wide."""
    for attempt in range(50):
        amount = 1.0 - 0.02 * attempt  # ends near the mean shape, whose fingers are apart
        weights = amount * np.clip(rng.normal(size=len(LANDMARKS.modes)), -2, 2)
        shape = bend_fingers(MEAN_SHAPE + np.tensordot(weights, LANDMARKS.modes, axes=1), rng, amount)
        if fingers_are_apart(shape):
            return scale_to_size(shape, LANDMARKS.size_between, LANDMARKS.size_mm)
    return scale_to_size(MEAN_SHAPE, LANDMARKS.size_between, LANDMARKS.size_mm)
