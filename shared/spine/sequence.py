"""Labels of a spine from candidates: the most likely chain of vertebrae, the next likely one, and how sure it is.

Candidates of all heatmaps are gathered into sites. A labelling is a chain of sites from head to foot with labels that
can follow each other. Its score adds what the heatmaps say for each site and takes off the cost of unlikely steps, of
variants (T13, L6, no T12, no L5), of vertebrae skipped in the middle, and of vertebrae that should be in view beyond
its ends. Dynamic programming over (label, site) gives the best chain and, with its backward pass, the best chain that
labels any of these sites differently: the second-best labelling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .candidates import CHANNELS, MERGE_MM, Candidate, Site, find_candidates, merge_candidates
from .chains import (
    ALIKE,
    L1,
    L4,
    RANK,
    RARE,
    RULES,
    SACRUM,
    T11,
    T12,
    T13,
    ChainCosts,
    Transition,
    step_costs,
    transitions,
)
from .field_of_view import CUT_MM, FieldOfView
from .label_probabilities import allow_rare
from .labels import CRANIOCAUDAL, SPINE_NAMES, VERTEBRA_LABELS
from .ribs import RibReach
from .statistics import USUAL, SpineStatistics, load_statistics

__all__ = [
    "CHANNELS",
    "Candidate",
    "ChainCosts",
    "Evidence",
    "FieldOfView",
    "SpineLabelling",
    "find_candidates",
    "label_spine",
    "load_statistics",
    "merge_candidates",
]

CUT_SHARE = 0.5  # of the step to the neighbour: a vertebra of the neck is whole closer to the end than a lumbar one


@dataclass(frozen=True)
class Evidence:
    """How heatmaps speak for a label; the shipped values are the "evidence" of ``labelling_rules.json``.

    Attributes:
        neighbour: share of the maximum of a neighbouring label's heatmap where vertebrae look alike.
        existence: share of a site's highest maximum that counts whatever the label.
        floor: score that a vertebra has to exceed to be worth labelling.
        clearest, weakest: scores are divided by the mean of those of so many clearest sites, or by the weakest mean.
        anchor: own score of C1, C2, the sacrum or the pair around the last rib that makes it an anchor.
        certain: margin over the second-best labelling from which a level is certain.
        belief: weight of the logarithm of a label's probability at a site, against the most probable one there.
        rare: how much less probable T13 is at most than T12 or L1 at the same place, and L6 than L5: a network that has
            seen few of them hardly believes in them. The cost of the variant comes on top.
        doubt: no label is less probable than exp(-doubt) times the most probable one.
        expected: cost of a vertebra that should be in view beyond an end of the chain but was not found.
        most_expected: number of them that count.
    """

    neighbour: float
    existence: float
    floor: float
    clearest: int
    weakest: float
    anchor: float
    certain: float
    belief: float
    rare: float
    doubt: float
    expected: float
    most_expected: int


@dataclass(frozen=True)
class SpineLabelling:
    """Labelled body centres of one image.

    Attributes:
        points: label to (3,) RAS mm, vertebrae in the order from head to foot, without those cut by the image's ends.
        scores: label to 0..1, how clearly the heatmaps show this label at that place; 0 for an interpolated one.
        margin: score of this labelling minus that of the second-best one; 1 is one clear vertebra.
        second: the second-best labelling in the same form as ``points``; None where there is none.
        uncertain: whether the level is: no anchor is in view, or the second-best labelling is nearly as likely.
        reasons: sentences that say why, and what else is unusual.
        anchors: what fixes the level: "C1", "C2", "last rib", "sacrum".
        sacrum: (3,) centre of S1, where found.
        cut: labels found within the margin of the image's ends and left out.
        interpolated: labels between found vertebrae that the heatmaps do not show.
        total: score of the whole labelling in units of the heatmaps' scores, comparable between images.
        ribs: what the CT shows beside the thoracic and upper lumbar vertebrae, where it was measured.
    """

    points: dict[int, np.ndarray]
    scores: dict[int, float]
    margin: float
    second: dict[int, np.ndarray] | None
    uncertain: bool
    reasons: list[str]
    anchors: tuple[str, ...] = ()
    sacrum: np.ndarray | None = None
    cut: tuple[int, ...] = ()
    interpolated: tuple[int, ...] = ()
    total: float = 0.0
    ribs: dict[int, RibReach] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """Sites with their labels from head to foot, and the transition that leads to each but the first."""

    labels: list[int]
    sites: list[int]
    steps: list[Transition] = field(default_factory=list)


class ChainSearch:
    """Forward and backward tables over (label, site).

    Args:
        sites: S places.
        steps: possible transitions.
        costs, evidence: weights.
        view: ends of the image; None where every end may be a cut.
        statistics: expected offsets.
        log_probabilities: (S, L) of each label at each site; None where only the candidates are known.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        steps: Sequence[Transition],
        costs: ChainCosts,
        evidence: Evidence,
        view: FieldOfView | None,
        statistics: SpineStatistics,
        log_probabilities: np.ndarray | None = None,
    ) -> None:
        self.sites, self.evidence, self.view, self.statistics = sites, evidence, view, statistics
        self.places = np.array([site.position_mm for site in sites])
        self.own = np.zeros((len(CHANNELS), len(sites)))
        for column, site in enumerate(sites):
            for label, score in site.scores.items():
                self.own[RANK[label], column] = score
        # A network that is less sure of a whole image still ranks its sites: scores are relative to the clearest ones.
        clearest = np.sort(self.own.max(axis=0))[-evidence.clearest :]
        self.strength = float(np.clip(clearest.mean(), evidence.weakest, 1.0))
        self.own = np.minimum(self.own / self.strength, 1.0)
        self.shared = self._share()
        self.unary = evidence.existence * self.own.max(axis=0) + (1 - evidence.existence) * self.shared - evidence.floor
        if log_probabilities is not None:
            below = allow_rare(log_probabilities, evidence.rare)
            below = below - below.max(axis=1, keepdims=True)
            self.unary = self.own.max(axis=0) - evidence.floor + evidence.belief * np.maximum(below, -evidence.doubt).T
        self.steps = [(step, step_costs(step, self.places, self.places, costs)) for step in steps]
        self.start = np.stack([self._end_cost(label, upwards=True) for label in CHANNELS])
        self.end = np.stack([self._end_cost(label, upwards=False) for label in CHANNELS])
        self._forward()
        self._backward()

    def _share(self) -> np.ndarray:
        """Scores (L, S) in which neighbours that look alike share their maxima."""
        shared = self.own.copy()
        for upper, lower in self._neighbours():
            factor = 1.0 if {upper, lower} == {T12, T13} else self.evidence.neighbour
            for label, other in ((upper, lower), (lower, upper)):
                shared[RANK[label]] = np.maximum(shared[RANK[label]], factor * self.own[RANK[other]])
        return shared

    @staticmethod
    def _neighbours() -> list[tuple[int, int]]:
        """Pairs of labels that follow each other and look alike."""
        pairs = []
        for stretch in ALIKE:
            ordered = sorted(stretch, key=RANK.__getitem__)
            pairs += list(zip(ordered[:-1], ordered[1:], strict=True))
        return pairs

    def _end_cost(self, label: int, upwards: bool) -> np.ndarray:
        """Cost (S,) of a chain that starts (upwards) or ends with a label although more vertebrae should be in view."""
        total = np.zeros(len(self.places))
        if self.view is None:
            return total
        places, visible, current = self.places, np.ones(len(self.places), bool), label
        for _ in range(self.evidence.most_expected):
            following = neighbour_of(current, upwards)
            if following is None:
                break
            pair = (following, current) if upwards else (current, following)
            places = places + (-1 if upwards else 1) * self.statistics.step(*pair).mean_mm
            visible = visible & self.view.sees(places, CUT_MM)
            total += self.evidence.expected * visible
            current = following
        return total

    def _forward(self) -> None:
        self.best_to = self.unary - self.start
        self.came: dict[tuple[int, int], tuple[Transition, int]] = {}
        for step, cost in sorted(self.steps, key=lambda pair: RANK[pair[0].lower]):
            upper, lower = RANK[step.upper], RANK[step.lower]
            through = self.best_to[upper][:, None] - cost
            source = through.argmax(axis=0)
            value = through[source, np.arange(len(source))] + self.unary[lower]
            for site in np.flatnonzero(value > self.best_to[lower]):
                self.came[lower, int(site)] = (step, int(source[site]))
            self.best_to[lower] = np.maximum(self.best_to[lower], value)

    def _backward(self) -> None:
        self.best_from = -self.end
        self.goes: dict[tuple[int, int], tuple[Transition, int]] = {}
        for step, cost in sorted(self.steps, key=lambda pair: -RANK[pair[0].upper]):
            upper, lower = RANK[step.upper], RANK[step.lower]
            through = (self.best_from[lower] + self.unary[lower])[None] - cost
            target = through.argmax(axis=1)
            value = through[np.arange(len(target)), target]
            for site in np.flatnonzero(value > self.best_from[upper]):
                self.goes[upper, int(site)] = (step, int(target[site]))
            self.best_from[upper] = np.maximum(self.best_from[upper], value)

    @property
    def marginals(self) -> np.ndarray:
        """Score (L, S) of the best chain through each label at each site."""
        return self.best_to + self.best_from

    def chain_through(self, rank: int, site: int) -> Chain:
        """The best chain that gives a site this label."""
        ranks, sites = [rank], [site]
        steps: list[Transition] = []
        while (ranks[0], sites[0]) in self.came:
            step, before = self.came[ranks[0], sites[0]]
            ranks.insert(0, RANK[step.upper])
            sites.insert(0, before)
            steps.insert(0, step)
        while (ranks[-1], sites[-1]) in self.goes:
            step, after = self.goes[ranks[-1], sites[-1]]
            ranks.append(RANK[step.lower])
            sites.append(after)
            steps.append(step)
        return Chain([CRANIOCAUDAL[r] for r in ranks], sites, steps)

    def place(self, label: int, site: int) -> np.ndarray:
        """Position (3,) of a labelled site: the maximum of that label's own heatmap where it is clear."""
        own = self.sites[site]
        if own.scores.get(label, 0.0) >= 0.5 * max(own.scores.values()):
            return own.positions_mm[label]
        return own.position_mm


def neighbour_of(label: int, upwards: bool) -> int | None:
    """The label above or below in a usual spine; T13 lies between T12 and L1, L6 between L5 and the sacrum."""
    if label in RARE:
        return {(T13, True): T12, (T13, False): L1}.get((label, upwards), USUAL[-2] if upwards else SACRUM)
    index = USUAL.index(label) + (-1 if upwards else 1)
    return USUAL[index] if 0 <= index < len(USUAL) else None


def chain_points(search: ChainSearch, chain: Chain) -> tuple[dict[int, np.ndarray], dict[int, float], list[int]]:
    """Positions and scores of a chain's labels, missed ones between them interpolated, and these labels."""
    points: dict[int, np.ndarray] = {}
    scores: dict[int, float] = {}
    missed: list[int] = []
    for index, (label, site) in enumerate(zip(chain.labels, chain.sites, strict=True)):
        here = search.place(label, site)
        if index and len(between := chain.steps[index - 1].labels) > 2:
            above = points[between[0]]
            whole = np.linalg.norm(search.statistics.path(between).mean_mm)
            for end in range(2, len(between)):
                share = np.linalg.norm(search.statistics.path(between[:end]).mean_mm) / whole
                points[between[end - 1]] = above + share * (here - above)
                scores[between[end - 1]] = 0.0
                missed.append(between[end - 1])
        points[label], scores[label] = here, search.strength * float(search.shared[RANK[label], site])
    return points, scores, missed


def cut_labels(points: dict[int, np.ndarray], view: FieldOfView | None, statistics: SpineStatistics) -> list[int]:
    """Labels whose vertebra is cut by an end of the image."""
    if view is None:
        return []
    found = []
    for label, point in points.items():
        above, below = neighbour_of(label, True), neighbour_of(label, False)
        step = statistics.step(above, label) if above is not None else statistics.step(label, below or SACRUM)
        margin = min(CUT_MM, CUT_SHARE * float(np.linalg.norm(step.mean_mm)))
        if float(view.end_depth_mm(point)) < margin:
            found.append(label)
    return found


def find_anchors(search: ChainSearch, chain: Chain) -> tuple[str, ...]:
    """What in view fixes the level, by the heatmaps' own scores of these labels."""
    own = {label: float(search.own[RANK[label], site]) for label, site in zip(chain.labels, chain.sites, strict=True)}
    sure = {label for label, score in own.items() if score >= search.evidence.anchor}
    anchors = [name for name in ("C1", "C2") if VERTEBRA_LABELS[name] in sure]
    if any(
        step.labels in ((T12, L1), (T13, L1), (T11, L1)) and set(step.labels) <= sure | {T13} for step in chain.steps
    ):
        anchors.append("last rib")
    if SACRUM in sure:
        anchors.append("sacrum")
    return tuple(anchors)


def remarks(
    points: dict[int, np.ndarray], steps: Sequence[Transition], missed: Sequence[int], cut: Sequence[int]
) -> list[str]:
    """Sentences about what is unusual in a labelling."""
    said = [f"{SPINE_NAMES[label]} present" for label in RARE if label in points]
    pairs = {step.labels for step in steps}
    said += ["T12 absent"] if (T11, L1) in pairs else []
    said += ["L5 absent"] if (L4, SACRUM) in pairs else []
    if missed:
        said.append(f"not seen, interpolated: {', '.join(SPINE_NAMES[label] for label in missed)}")
    if cut:
        said.append(f"cut by the end of the image, left out: {', '.join(SPINE_NAMES[label] for label in cut)}")
    return said


def span(points: dict[int, np.ndarray]) -> str:
    """First and last name of ordered labels."""
    names = [SPINE_NAMES[label] for label in points]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def label_spine(
    candidates: Sequence[Candidate],
    statistics: SpineStatistics | None = None,
    field_of_view: FieldOfView | None = None,
    costs: ChainCosts | None = None,
    evidence: Evidence | None = None,
    merge_mm: float = MERGE_MM,
    beliefs: Callable[[np.ndarray], np.ndarray] | None = None,
) -> SpineLabelling:
    """The most likely labelling of a spine.

    Args:
        candidates: maxima of the heatmaps, in any order.
        statistics: of the steps; the shipped ones where None.
        field_of_view: of the whole image in the world of the candidates; None where its ends are unknown.
        costs: of steps and variants; the shipped ones where None.
        evidence: of heatmaps and ends; the shipped one where None.
        merge_mm: candidates this close are one vertebra.
        beliefs: gives the logarithm of the probability of each label (S, 27) at places (S, 3); the scores of the
            candidates alone count where None.

    Returns:
        the labelling; empty, with a reason, where no candidate is worth labelling.
    """
    statistics = statistics or load_statistics()
    costs, evidence = costs or ChainCosts(**RULES["costs"]), evidence or Evidence(**RULES["evidence"])
    sites = merge_candidates(candidates, merge_mm)
    nothing = SpineLabelling({}, {}, 0.0, None, True, ["no vertebra found"])
    if max((max(site.scores.values()) for site in sites), default=0.0) <= evidence.floor:
        return nothing
    logs = None if beliefs is None else beliefs(np.array([site.position_mm for site in sites]))
    search = ChainSearch(sites, transitions(statistics, costs), costs, evidence, field_of_view, statistics, logs)
    marginals = search.marginals
    rank, site = (int(i) for i in np.unravel_index(marginals.argmax(), marginals.shape))
    total = float(marginals[rank, site])
    chain = search.chain_through(rank, site)

    others = np.full_like(marginals, -np.inf)
    others[:, chain.sites] = marginals[:, chain.sites]
    for label, place in zip(chain.labels, chain.sites, strict=True):
        others[RANK[label], place] = -np.inf
    second_rank, second_site = (int(i) for i in np.unravel_index(others.argmax(), others.shape))
    margin = total - float(others[second_rank, second_site])
    second_chain = search.chain_through(second_rank, second_site)

    def shown(which: Chain) -> tuple[dict[int, np.ndarray], dict[int, float], list[int], list[int]]:
        points, scores, missed = chain_points(search, which)
        cut = cut_labels({k: v for k, v in points.items() if k != SACRUM}, field_of_view, statistics)
        kept = {label: point for label, point in points.items() if label not in cut and label != SACRUM}
        return kept, {k: scores[k] for k in kept}, [k for k in missed if k in kept], cut

    points, scores, missed, cut = shown(chain)
    second = shown(second_chain)[0] or None
    anchors = find_anchors(search, chain)
    reasons = remarks(points, chain.steps, missed, cut)
    if not points:
        return SpineLabelling(
            {}, {}, margin, None, True, ["no whole vertebra in view", *reasons], anchors, total=search.strength * total
        )
    if not anchors:
        reasons.insert(0, "level uncertain: neither C1, C2, the last rib nor the sacrum is in view")
    if margin < evidence.certain:
        other = f" ({span(second)})" if second else ""
        reasons.insert(0, f"level uncertain: another labelling{other} is nearly as likely, margin {margin:.2f}")
    return SpineLabelling(
        points=points,
        scores=scores,
        margin=margin,
        second=second,
        uncertain=not anchors or margin < evidence.certain,
        reasons=reasons,
        anchors=anchors,
        sacrum=search.place(SACRUM, chain.sites[-1]) if chain.labels[-1] == SACRUM else None,
        cut=tuple(cut),
        interpolated=tuple(missed),
        total=search.strength * total,
    )
