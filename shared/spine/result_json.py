"""What the pipeline says about a CT as JSON: the spine's region, the labelled vertebrae, given landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..geometry.frames import lps_to_ras, ras_to_lps
from .labels import SPINE_NAMES
from .spine_stage import SpineRegion

FRAME = "world LPS millimetres"


def to_lps(point_ras: np.ndarray) -> list[float]:
    """A point in LPS mm, rounded to micrometres."""
    return [round(float(value), 3) for value in ras_to_lps(point_ras)]


def landmark_entries(
    points: Mapping[int, np.ndarray], scores: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Entries of body centres (RAS mm) in the order given, with confidences where there are scores."""
    return [
        {"index": int(label), "name": SPINE_NAMES[label]}
        | dict(zip("xyz", to_lps(point), strict=True))
        | ({} if scores is None else {"confidence": round(float(np.clip(scores.get(label, 0), 0, 1)), 4)})
        for label, point in points.items()
    ]


def points_of(document: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Label to RAS mm (3,) of the landmarks in a document."""
    return {int(mark["index"]): lps_to_ras([mark[axis] for axis in "xyz"]) for mark in document["landmarks"]}


def region_result(case: str, region: SpineRegion) -> dict[str, Any]:
    """``<case>_spine_centroid.json``: centroid and box of the spine."""
    ends = ras_to_lps([region.low_mm, region.high_mm])
    return {
        "case": case,
        "frame": FRAME,
        "centroid": dict(zip("xyz", to_lps(region.centroid_mm), strict=True)),
        "box": {
            "low": dict(zip("xyz", np.round(ends.min(axis=0), 3).tolist(), strict=True)),
            "high": dict(zip("xyz", np.round(ends.max(axis=0), 3).tolist(), strict=True)),
        },
        "confidence": round(float(np.clip(region.peak, 0, 1)), 4),
        "warnings": [],
    }
