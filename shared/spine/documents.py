"""What the pipeline says about a CT as JSON: the spine's region, the labelled vertebrae, given landmarks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..io.atomic import atomic_path
from .labels import SPINE_LABELS, SPINE_NAMES
from .sequence import SpineLabelling
from .stage1 import SpineRegion

FRAME = "world LPS millimetres"
RAS_LPS = np.array([-1.0, -1.0, 1.0])


def to_lps(point_ras: np.ndarray) -> list[float]:
    """A point in LPS mm, rounded to micrometres."""
    return [round(float(value), 3) for value in np.asarray(point_ras, dtype=float) * RAS_LPS]


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
    return {
        int(mark["index"]): np.array([mark[axis] for axis in "xyz"], dtype=float) * RAS_LPS
        for mark in document["landmarks"]
    }


def labelling_document(case: str, labelling: SpineLabelling) -> dict[str, Any]:
    """``<case>_landmarks.json`` of a labelling: the vertebrae, how sure the level is, and the second-best labelling."""
    second = labelling.second
    extra = {} if labelling.sacrum is None else {SPINE_LABELS["sacrum"]: labelling.sacrum}
    return {
        "case": case,
        "frame": FRAME,
        "landmarks": landmark_entries(labelling.points, labelling.scores),
        "level_uncertain": labelling.uncertain,
        "anchors": list(labelling.anchors),
        "margin": round(float(min(labelling.margin, 1e6)), 4),
        "second_best": None if second is None else landmark_entries(second),
        "sacrum": next(iter(landmark_entries(extra)), None),
        "cut": [SPINE_NAMES[label] for label in labelling.cut],
        "interpolated": [SPINE_NAMES[label] for label in labelling.interpolated],
        "warnings": list(labelling.reasons),
    }


def given_document(case: str, points: Mapping[int, np.ndarray], warnings: Sequence[str] = ()) -> dict[str, Any]:
    """``<case>_landmarks.json`` of landmarks that the user has given."""
    return {
        "case": case,
        "frame": FRAME,
        "landmarks": landmark_entries(points, dict.fromkeys(points, 1.0)),
        "level_uncertain": False,
        "source": "given landmarks",
        "warnings": list(warnings),
    }


def spine_document(case: str, region: SpineRegion) -> dict[str, Any]:
    """``<case>_spine_centroid.json``: centroid and box of the spine."""
    ends = np.stack([region.low_mm * RAS_LPS, region.high_mm * RAS_LPS])
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


def picture_title(document: Mapping[str, Any]) -> str:
    """Lines above the picture of a case: what was found, and every warning."""
    names = [mark["name"] for mark in document["landmarks"]]
    found = f"{names[0]} to {names[-1]}" if len(names) > 1 else "".join(names)
    level = ", LEVEL UNCERTAIN" if document["level_uncertain"] else ""
    return "\n".join([f"{document['case']}: {len(names)} vertebrae, {found}{level}", *document["warnings"]])


def write_json(path: str | os.PathLike, document: Any) -> None:
    """Write a document as JSON, whole or not at all."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
