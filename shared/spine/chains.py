"""Which vertebra can follow which: the usual chain, its variants, and gaps where some were not found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .labels import CRANIOCAUDAL, SPINE_LABELS, VERTEBRA_LABELS
from .statistics import USUAL, SpineStatistics, Step

RANK = {label: rank for rank, label in enumerate(CRANIOCAUDAL)}
T11, T12, T13 = (VERTEBRA_LABELS[name] for name in ("T11", "T12", "T13"))
L1, L4, L5, L6 = (VERTEBRA_LABELS[name] for name in ("L1", "L4", "L5", "L6"))
SACRUM = SPINE_LABELS["sacrum"]
RARE = (T13, L6)
RULES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("labelling_rules.json").read_text("utf-8"))

# stretches in which vertebrae look alike, so that a maximum of one label's heatmap may belong to its neighbour
ALIKE: tuple[frozenset[int], ...] = (
    frozenset(range(3, 8)),
    frozenset({*range(9, 20), T13}),
    frozenset(range(21, 26)),
)


@dataclass(frozen=True)
class ChainCosts:
    """Scores that a variant of the spine, a vertebra that was not found, and an unlikely step cost.

    One is the score of a vertebra that the heatmaps show clearly. A frequent variant costs less: of 113 scans of the
    VerSe data set 16 have an L6, 2 a T13 and 3 no T12. None lacks L5: that cost is assumed, as large as that of T13.
    The shipped values are the "costs" of ``labelling_rules.json``.
    """

    thirteenth_thoracic: float
    no_twelfth_thoracic: float
    sixth_lumbar: float
    no_fifth_lumbar: float
    missed: float
    most_missed: int
    step: float
    freedom: float
    usual: float  # squared Mahalanobis distance of a step that costs nothing; a better one pays
    widest: float  # squared Mahalanobis distance of a step that is impossible
    shortest: float  # length of a possible step relative to the expected one
    longest: float
    noise_mm: float
    tilt: float  # rad, how a patient lies, standard deviation
    size: float  # relative, body size beyond the statistics

    def direct(self) -> dict[tuple[int, int], float]:
        """Cost of each pair of neighbours."""
        pairs = dict.fromkeys(zip(USUAL[:-1], USUAL[1:], strict=True), 0.0)
        return pairs | {
            (T12, T13): self.thirteenth_thoracic,
            (T13, L1): 0.0,
            (T11, L1): self.no_twelfth_thoracic,
            (L5, L6): self.sixth_lumbar,
            (L6, SACRUM): 0.0,
            (L4, SACRUM): self.no_fifth_lumbar,
        }


@dataclass(frozen=True)
class Transition:
    """From one labelled vertebra to the next one that was found.

    Attributes:
        labels: from the upper to the lower vertebra; those between them were not found.
        cost: of variants and missed vertebrae.
        step: expected offset.
        precision: (3, 3) inverse of its covariance, widened by noise, tilt and size.
    """

    labels: tuple[int, ...]
    cost: float
    step: Step
    precision: np.ndarray

    @property
    def upper(self) -> int:
        return self.labels[0]

    @property
    def lower(self) -> int:
        return self.labels[-1]


def widened(step: Step, costs: ChainCosts) -> np.ndarray:
    """Covariance (3, 3) of an observed step."""
    length = float(np.linalg.norm(step.mean_mm))
    along = np.outer(step.mean_mm, step.mean_mm) / length**2
    turned = (costs.tilt * length) ** 2 * (np.eye(3) - along)
    return step.covariance_mm2 + 2 * costs.noise_mm**2 * np.eye(3) + turned + (costs.size * length) ** 2 * along


def transitions(statistics: SpineStatistics, costs: ChainCosts) -> list[Transition]:
    """All steps, direct ones and over missed vertebrae; only vertebrae of a usual spine can have been missed."""
    direct = costs.direct()
    chains: list[tuple[tuple[int, ...], float]] = list(direct.items())
    found = list(chains)
    for _ in range(costs.most_missed):
        chains = [
            ((*labels, below), cost + more + costs.missed)
            for labels, cost in chains
            if labels[-1] not in RARE
            for (above, below), more in direct.items()
            if above == labels[-1]
        ]
        found += chains
    steps = []
    for labels, cost in found:
        step = statistics.path(labels)
        steps.append(Transition(tuple(labels), cost, step, np.linalg.inv(widened(step, costs))))
    return steps


def step_costs(transition: Transition, uppers: np.ndarray, lowers: np.ndarray, costs: ChainCosts) -> np.ndarray:
    """Cost (U, W) of a transition between places (U, 3) and (W, 3) in RAS mm; infinite for an impossible step.

    The geometric part is that of a Student distribution, which forgives a single fracture or curve.
    """
    steps = lowers[None] - uppers[:, None]
    lengths = np.linalg.norm(steps, axis=-1) / np.linalg.norm(transition.step.mean_mm)
    offsets = steps - transition.step.mean_mm
    squared = np.einsum("uwi,ij,uwj->uw", offsets, transition.precision, offsets)
    unlikely = np.log1p(squared / costs.freedom) - np.log1p(costs.usual / costs.freedom)
    geometry = costs.step * (costs.freedom + 3) / 2 * unlikely
    impossible = (squared > costs.widest) | (lengths < costs.shortest) | (lengths > costs.longest)
    return np.where(impossible, np.inf, transition.cost + geometry)
