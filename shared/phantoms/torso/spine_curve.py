"""Where the vertebrae of a random patient lie and how they are turned.

Steps between body centres and their angles follow statistics of 113 scans of the VerSe data set (CC BY-SA 4.0); only
means, standard deviations and correlations are kept here. Positions are continuous level numbers (1 = C1, 8 = T1,
20 = L1, 25 = L6), so that a spine with a vertebra more or less can be laid on the same curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...spine.labels import VERTEBRA_LABELS

# per gap from C1-C2 to L5-L6: step (mm), its relative standard deviation within a patient, sagittal angle (degrees,
# positive where the spine runs forward on its way down) and its standard deviation between patients
STEP_MM: tuple[float, ...] = (
    17.1, 18.5, 15.9, 16.1, 16.1, 17.7, 18.8, 20.9, 22.2, 22.3, 22.8, 23.5,
    24.0, 24.3, 24.9, 25.7, 27.6, 29.8, 32.0, 33.4, 34.1, 33.8, 31.7, 30.6,
)  # fmt: skip
STEP_SD: tuple[float, ...] = (
    0.06, 0.04, 0.06, 0.06, 0.05, 0.05, 0.04, 0.05, 0.03, 0.03, 0.03, 0.03,
    0.03, 0.03, 0.03, 0.03, 0.03, 0.03, 0.04, 0.03, 0.03, 0.03, 0.04, 0.04,
)  # fmt: skip
SAGITTAL: tuple[float, ...] = (
    -10.0, -5.5, -11.0, -15.0, -20.0, -29.5, -31.5, -28.0, -27.5, -22.5, -16.5, -11.0,
    -5.5, 0.5, 3.5, 6.5, 10.0, 10.5, 10.0, 13.0, 10.0, 5.0, -6.0, -15.0,
)  # fmt: skip
SAGITTAL_SD: tuple[float, ...] = (
    14.0, 12.5, 13.0, 15.0, 16.0, 15.0, 12.0, 9.5, 8.5, 7.5, 6.5, 6.0,
    6.0, 5.0, 5.0, 7.0, 7.0, 5.5, 5.5, 5.5, 5.5, 6.0, 8.0, 10.0,
)  # fmt: skip
LATERAL_SD = 4.5  # degrees
SAGITTAL_RANGE, LATERAL_RANGE = 3.5, 2.2  # correlation lengths in levels
SCALE_SD = 0.066  # body size
SACRAL_STEP_MM, SACRAL_STEP_ANGLE = 31.0, -22.0  # from the last lumbar centre to that of S1
SACRAL_SLOPE, SACRAL_SLOPE_SD = -38.0, 7.0


@dataclass(frozen=True)
class Pose:
    """Place of a bone: `world = centre + axes @ local`, axes in columns (right, anterior, superior)."""

    centre: np.ndarray
    axes: np.ndarray

    def to_world(self, local: Sequence[float] | np.ndarray) -> np.ndarray:
        """Local points (..., 3) in patient RAS mm."""
        return np.asarray(local, float) @ self.axes.T + self.centre


@dataclass(frozen=True)
class Spine:
    """The column of one patient, from head to foot."""

    labels: tuple[int, ...]
    positions: np.ndarray  # (N,) continuous level
    poses: tuple[Pose, ...]
    sacrum: Pose
    scale: float

    def pose(self, name: str) -> Pose:
        """The pose of a named vertebra; KeyError where the patient has none of that name."""
        return dict(zip(self.labels, self.poses, strict=True))[VERTEBRA_LABELS[name]]

    def at(self, position: float) -> np.ndarray:
        """The point (3,) on the line of body centres at a continuous level; 26 is S1."""
        centres = np.array([pose.centre for pose in self.poses] + [self.sacrum.centre])
        positions = np.r_[self.positions, 26.0]
        return np.array([np.interp(position, positions, centres[:, axis]) for axis in range(3)])


def levels_of(anomalies: frozenset[str]) -> tuple[tuple[int, ...], np.ndarray]:
    """Labels from head to foot and their positions for a spine with these anomalies ("L6", "T13", "no_T12")."""
    names = [f"C{i}" for i in range(1, 8)] + [f"T{i}" for i in range(1, 13)] + [f"L{i}" for i in range(1, 6)]
    positions = {name: float(VERTEBRA_LABELS[name]) for name in names}
    if "no_T12" in anomalies:
        names.remove("T12")
        positions.update(T11=18.3, L1=19.9)
    elif "T13" in anomalies:
        names.insert(names.index("L1"), "T13")
        positions.update(T12=18.8, T13=19.45, L1=20.1)
    if "L6" in anomalies:
        names.append("L6")
        positions.update(L5=24.2, L6=25.0)
    return tuple(VERTEBRA_LABELS[name] for name in names), np.array([positions[name] for name in names])


def correlated(count: int, length: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian deviations (count,) of unit variance, correlated over `length` neighbours, cut at 2.2."""
    lag = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    draw = np.linalg.cholesky(np.exp(-lag / length) + 1e-9 * np.eye(count)) @ rng.standard_normal(count)
    return np.clip(draw, -2.2, 2.2)


def frame(sagittal: float, lateral: float, axial: float) -> np.ndarray:
    """Axes (3, 3) of a vertebra from angles in degrees."""
    s, t, r = np.deg2rad([sagittal, lateral, axial])
    up = np.array([-np.sin(t) * np.cos(s), -np.sin(s), np.cos(s) * np.cos(t)])
    up /= np.linalg.norm(up)
    right = np.array([np.cos(r), np.sin(r), 0.0])
    right -= up * (right @ up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(up, right), up], axis=1)


def random_spine(anomalies: frozenset[str], rng: np.random.Generator) -> Spine:
    """Draw a spine; the centre of L1 lies at the origin."""
    labels, positions = levels_of(anomalies)
    scale = float(1.0 + SCALE_SD * np.clip(rng.standard_normal(), -2.0, 2.0))
    gaps = np.arange(1, 25) + 0.5
    middle = (positions[1:] + positions[:-1]) / 2
    count = len(middle)
    # a gap wider than one level (no T12) or narrower (T13) still has the length of a usual step
    step = np.interp(middle, gaps, STEP_MM) * scale
    step *= 1.0 + np.interp(middle, gaps, STEP_SD) * correlated(count, 0.7, rng)
    sagittal = np.interp(middle, gaps, SAGITTAL)
    sagittal += np.interp(middle, gaps, SAGITTAL_SD) * 0.8 * correlated(count, SAGITTAL_RANGE, rng)
    lateral = LATERAL_SD * 0.6 * correlated(count, LATERAL_RANGE, rng)
    axial = np.zeros(count + 1)
    if "scoliosis" in anomalies:
        apex, width = rng.uniform(14, 21), rng.uniform(4, 6)
        strength = rng.uniform(14, 28) * rng.choice([-1, 1])
        wave = (middle - apex) / width
        lateral += strength * -np.sin(np.clip(np.pi / 2 * wave, -np.pi, np.pi)) * np.exp(-0.15 * wave**2)
        axial = 0.6 * strength * np.exp(-(((positions - apex) / width) ** 2))
    angle_s = np.r_[sagittal[0], (sagittal[1:] + sagittal[:-1]) / 2, (sagittal[-1] + SACRAL_STEP_ANGLE) / 2]
    angle_l = np.r_[lateral[0], (lateral[1:] + lateral[:-1]) / 2, lateral[-1] / 2]
    last = np.array([SACRAL_STEP_MM * scale, SACRAL_STEP_ANGLE + rng.normal(0, 3), 0.0])
    down = np.concatenate([np.stack([step, sagittal, lateral], axis=1), last[None]])
    moves = [-length * frame(a, b, 0.0)[:, 2] for length, a, b in down]
    centres = np.concatenate([np.zeros((1, 3)), np.cumsum(moves, axis=0)])
    centres -= centres[labels.index(VERTEBRA_LABELS["L1"])]
    poses = tuple(Pose(c, frame(*angles)) for c, *angles in zip(centres, angle_s, angle_l, axial, strict=False))
    slope = SACRAL_SLOPE + SACRAL_SLOPE_SD * float(np.clip(rng.standard_normal(), -2, 2))
    return Spine(labels, positions, poses, Pose(centres[-1], frame(slope, 0.0, 0.0)), scale)
