"""Where the next vertebra lies: mean and covariance of the steps between neighbouring body centres.

The shipped numbers are derived from the body centres of 113 scans of the VerSe data set (Sekuboyina et al., Medical
Image Analysis 2021, CC BY-SA 4.0); no position of any of them is kept. Make them anew from a table of your own with
``python -m scripts.shared.spine.statistics --table centres.csv --output statistics.json``.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.terminal import run_command
from ..geometry.frames import lps_to_ras
from ..io.atomic import atomic_path
from ..io.errors import CaseError
from .labels import SPINE_LABELS, SPINE_NAMES, VERTEBRA_LABELS

SHIPPED = Path(__file__).with_name("spine_statistics.json")
SOURCE = "steps between body centres, learned from 113 scans of the VerSe data set (CC BY-SA 4.0)"
T13, SACRUM = VERTEBRA_LABELS["T13"], SPINE_LABELS["sacrum"]
# columns of the table: C1 to L6, then T13
TABLE_LABELS = (*range(1, 26), T13)
USUAL = (*range(1, 20), *range(20, 25), SACRUM)  # C1 to T12, L1 to L5, sacrum
# steps of rare spines are those of a usual one at the same height
BORROWED = {
    (VERTEBRA_LABELS["T12"], T13): ("T12", "L1"),
    (T13, VERTEBRA_LABELS["L1"]): ("T12", "L1"),
    (VERTEBRA_LABELS["T11"], VERTEBRA_LABELS["L1"]): ("T12", "L1"),
    (VERTEBRA_LABELS["L6"], SACRUM): ("L5", "sacrum"),
    (VERTEBRA_LABELS["L4"], SACRUM): ("L5", "sacrum"),
}
# The data set has no centre of S1: anatomical values with wide margins.
SACRAL_STEP = ((0.0, -11.0, -29.0), (3.0, 7.0, 5.0))
FEWEST = 5  # scans that a pair needs


@dataclass(frozen=True)
class Step:
    """From a body centre to that of the vertebra below.

    Attributes:
        mean_mm: (3,) RAS.
        covariance_mm2: (3, 3).
        count: scans that it was learned from; 0 for an assumed step.
    """

    mean_mm: np.ndarray
    covariance_mm2: np.ndarray
    count: int = 0

    def __add__(self, other: Step) -> Step:
        """Two steps one after the other, taken as independent."""
        covariance = self.covariance_mm2 + other.covariance_mm2
        return Step(self.mean_mm + other.mean_mm, covariance, min(self.count, other.count))


@dataclass(frozen=True)
class SpineStatistics:
    """Steps of all pairs (upper label, lower label) that can be neighbours."""

    steps: dict[tuple[int, int], Step]

    def step(self, upper: int, lower: int) -> Step:
        """The step between two labels that can be neighbours; KeyError otherwise."""
        return self.steps[upper, lower]

    def path(self, labels: Sequence[int]) -> Step:
        """The step from the first to the last of at least two labels that follow each other."""
        total = self.steps[labels[0], labels[1]]
        for pair in zip(labels[1:], labels[2:], strict=False):
            total = total + self.steps[pair]
        return total


def learn_statistics(centres: np.ndarray) -> SpineStatistics:
    """Steps of a table of spines.

    Args:
        centres: (N, 26, 3) RAS mm in the order of ``TABLE_LABELS``; NaN for absent vertebrae.

    Raises:
        ValueError: when a pair occurs in too few spines.
    """
    column = {label: index for index, label in enumerate(TABLE_LABELS)}
    has = np.isfinite(centres).all(axis=-1)
    steps: dict[tuple[int, int], Step] = {}
    for upper, lower in [*zip(USUAL[:-2], USUAL[1:-1], strict=True), (24, 25)]:
        rows = has[:, column[upper]] & has[:, column[lower]]
        if (upper, lower) == (19, 20):
            rows &= ~has[:, column[T13]]
        offsets = (centres[:, column[lower]] - centres[:, column[upper]])[rows]
        if len(offsets) < FEWEST:
            raise ValueError(f"{SPINE_NAMES[upper]} and {SPINE_NAMES[lower]} are neighbours in {len(offsets)} spines")
        both = np.concatenate([offsets, offsets * [-1.0, 1.0, 1.0]])  # left and right are alike
        steps[upper, lower] = Step(both.mean(axis=0), np.cov(both.T), len(offsets))
    mean, deviation = (np.array(values) for values in SACRAL_STEP)
    steps[24, SACRUM] = Step(mean, np.diag(deviation**2))
    for pair, (upper_name, lower_name) in BORROWED.items():
        source = steps[SPINE_LABELS[upper_name], SPINE_LABELS[lower_name]]
        steps[pair] = Step(source.mean_mm, source.covariance_mm2)
    return SpineStatistics(steps)


def read_table(path: str | os.PathLike) -> np.ndarray:
    """Body centres (N, 26, 3) in RAS mm from a table without header: case, then x, y, z in LPS mm of C1 to L6, T13.

    Raises:
        CaseError: when a row has another length or a value that is no number.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    width = 1 + 3 * len(TABLE_LABELS)
    try:
        if any(len(row) != width for row in rows):
            raise ValueError
        values = np.array([[float(value) if value else math.nan for value in row[1:]] for row in rows])
    except ValueError as error:
        advice = f"give {width} columns without a header: case, then x, y, z in LPS mm of C1 to L6 and T13, or nan"
        raise CaseError(path, "is no table of body centres", advice) from error
    return lps_to_ras(values.reshape(len(rows), len(TABLE_LABELS), 3))


def write_statistics(statistics: SpineStatistics, path: str | os.PathLike, source: str = SOURCE) -> None:
    """Write the steps as JSON, whole or not at all."""
    steps = [
        {
            "upper": SPINE_NAMES[upper],
            "lower": SPINE_NAMES[lower],
            "count": step.count,
            "mean_mm": np.round(step.mean_mm, 2).tolist(),
            "covariance_mm2": np.round(step.covariance_mm2, 3).tolist(),
        }
        for (upper, lower), step in statistics.steps.items()
    ]
    lines = ",\n  ".join(json.dumps(step) for step in steps)
    with atomic_path(path) as temporary:
        frame = json.dumps("RAS mm, from the upper body centre to the lower one")
        text = f'{{\n "source": {json.dumps(source)},\n "frame": {frame},\n "steps": [\n  {lines}\n ]\n}}\n'
        temporary.write_text(text, encoding="utf-8")


def load_statistics(path: str | os.PathLike | None = None) -> SpineStatistics:
    """Read the steps; the shipped ones where no path is given.

    Raises:
        CaseError: when the file is missing or of another form.
    """
    file = SHIPPED if path is None else Path(path)
    try:
        entries: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["steps"]
        return SpineStatistics(
            {
                (SPINE_LABELS[entry["upper"]], SPINE_LABELS[entry["lower"]]): Step(
                    np.array(entry["mean_mm"], float), np.array(entry["covariance_mm2"], float), int(entry["count"])
                )
                for entry in entries
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(file, "holds no spine statistics", "make them with this module's command") from error


def main(table: str, output: str, source: str = SOURCE) -> None:
    """Learn the steps from a table of body centres and write them as JSON."""
    write_statistics(learn_statistics(read_table(table)), output, source)


if __name__ == "__main__":
    run_command(main)
