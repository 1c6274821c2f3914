"""Simulated detections: what heatmaps of an imperfect network would give for a known spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.phantoms.torso.spine_curve import random_spine
from shared.spine.candidates import CHANNELS, Candidate
from shared.spine.field_of_view import FieldOfView
from shared.spine.labels import SPINE_LABELS, VERTEBRA_LABELS, craniocaudal_order
from shared.spine.sequence import SpineLabelling

SACRUM = SPINE_LABELS["sacrum"]
RANK = {label: rank for rank, label in enumerate(CHANNELS)}
ANCHORS = (1, 2, 19, 28, 20, SACRUM)


@dataclass(frozen=True)
class Network:
    """How a simulated network errs.

    Attributes:
        noise_mm: of each position.
        missing: chance that a vertebra is hardly seen.
        false_per_label: mean number of false maxima in each heatmap.
        near, far: share of the score on the right label at an anchor, and five levels or more from any.
        tilt: rad, standard deviation of the patient's pose.
    """

    noise_mm: float = 1.5
    missing: float = 0.04
    false_per_label: float = 0.5
    near: float = 0.9
    far: float = 0.55
    tilt: float = 0.06


@dataclass(frozen=True)
class Scene:
    """Detections of one scan with their truth."""

    candidates: list[Candidate]
    view: FieldOfView
    truth: dict[int, np.ndarray]  # vertebrae whose centre is in view, RAS mm
    whole: dict[int, np.ndarray]  # those at least 12 mm from the ends
    labels: tuple[int, ...]  # of the whole spine


def phantom_spine(rng: np.random.Generator, anomalies: frozenset[str] = frozenset()) -> dict[int, np.ndarray]:
    """Centres of C1 to L5 or L6 and the sacrum of a random patient."""
    spine = random_spine(anomalies, rng)
    centres = {label: pose.centre for label, pose in zip(spine.labels, spine.poses, strict=True)}
    return centres | {SACRUM: spine.sacrum.centre}


def turned(points: dict[int, np.ndarray], angles: np.ndarray) -> dict[int, np.ndarray]:
    """Points turned about x and y around their mean."""
    a, b = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    middle = np.mean(list(points.values()), axis=0)
    return {label: about_x @ about_y @ (point - middle) + middle for label, point in points.items()}


def scene(
    spine: dict[int, np.ndarray],
    rng: np.random.Generator,
    network: Network,
    z_range: tuple[float, float] | None = None,
) -> Scene:
    """Candidates of a spine, of which the part within a range of z in mm is scanned."""
    spine = turned(spine, rng.normal(0, network.tilt, 2))
    heights = np.array([point[2] for point in spine.values()])
    low, high = z_range or (heights.min() - 60, heights.max() + 60)
    inside = {label: point for label, point in spine.items() if low < point[2] < high}
    order = craniocaudal_order(spine)
    anchors = [order.index(label) for label in ANCHORS if label in inside]
    side = int(rng.choice([-1, 1]))
    middle = np.mean(list(inside.values()), axis=0) if inside else np.zeros(3)
    found = []
    for label, point in inside.items():
        away = min((abs(order.index(label) - anchor) for anchor in anchors), default=9)
        right = network.near + (network.far - network.near) * min(away, 5) / 5
        right = float(np.clip(right + rng.normal(0, 0.08), 0.05, 0.97))
        height = rng.uniform(0.05, 0.25) if rng.uniform() < network.missing else rng.uniform(0.75, 1.0)
        shares = {0: right, side: 0.75 * (1 - right), -side: 0.25 * (1 - right)}
        if label in (28, 25):  # rare: its usual neighbours' heatmaps answer as strongly
            shares = {0: 0.45, -1: 0.4, 1: 0.15}
        for shift, share in shares.items():
            channel = RANK[label] + shift
            if 0 <= channel < len(CHANNELS):
                target = CHANNELS[channel]
                if target == 28 and label != 28:  # trained on few
                    channel += shift
                    target = CHANNELS[channel]
                score = height * share * rng.uniform(0.8, 1.2)
                if score > 0.08:
                    place = point + rng.normal(0, network.noise_mm, 3)
                    found.append(Candidate(target, place, min(1.0, score)))
    for target in CHANNELS:
        for _ in range(rng.poisson(network.false_per_label)):
            place = np.array([*(middle[:2] + rng.normal(0, 45, 2)), rng.uniform(low, high)])
            found.append(Candidate(target, place, float(rng.uniform(0.1, 0.4) + (rng.uniform() < 0.1) * 0.3)))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [middle[0] - 199, middle[1] - 199, low + 1]
    view = FieldOfView(affine, (200, 200, max(1, round((high - low) / 2))))
    truth = {label: point for label, point in inside.items() if label != SACRUM}
    whole = {label: point for label, point in truth.items() if low + 12 < point[2] < high - 12}
    return Scene(found, view, truth, whole, tuple(order))


def cut_range(
    spine: dict[int, np.ndarray], rng: np.random.Generator, levels: tuple[float, float]
) -> tuple[float, float]:
    """A random range of z that shows between two numbers of vertebrae."""
    order = craniocaudal_order(spine)
    count = rng.uniform(*levels)
    top = rng.uniform(-0.5, max(0.0, len(order) - count))
    heights = np.array([spine[label][2] for label in order])
    high, low = np.interp([top, top + count], np.arange(len(order)), heights)
    return float(low), float(high + (20 if top < 0 else 0))


def hits(labelling: SpineLabelling, truth: dict[int, np.ndarray]) -> int:
    """Number of true vertebrae that have the right label within 20 mm."""
    return sum(
        label in labelling.points and float(np.linalg.norm(labelling.points[label] - point)) < 20
        for label, point in truth.items()
    )


def vertebra_names(labels: set[int]) -> set[str]:
    """Names of labels, for messages."""
    return {name for name, label in VERTEBRA_LABELS.items() if label in labels}
