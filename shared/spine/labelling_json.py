"""Labelled vertebrae as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .labels import SPINE_LABELS, SPINE_NAMES
from .result_json import FRAME, landmark_entries
from .sequence import SpineLabelling


def labelling_result(case: str, labelling: SpineLabelling) -> dict[str, Any]:
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
        "ribs": [{"name": SPINE_NAMES[label]} | asdict(reach) for label, reach in labelling.ribs.items()],
        "cut": [SPINE_NAMES[label] for label in labelling.cut],
        "interpolated": [SPINE_NAMES[label] for label in labelling.interpolated],
        "warnings": list(labelling.reasons),
    }


def picture_title(document: Mapping[str, Any]) -> str:
    """Lines above the picture of a case: what was found, and every warning."""
    names = [mark["name"] for mark in document["landmarks"]]
    found = f"{names[0]} to {names[-1]}" if len(names) > 1 else "".join(names)
    level = ", LEVEL UNCERTAIN" if document["level_uncertain"] else ""
    return "\n".join([f"{document['case']}: {len(names)} vertebrae, {found}{level}", *document["warnings"]])
