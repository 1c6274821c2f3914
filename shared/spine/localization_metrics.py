"""Measures of the VerSe challenges, for body centres and for label maps.

Two modes. ``official`` is what the challenges' code does (Sekuboyina et al., Medical Image Analysis 2021): false
positives cost nothing, overlap and surface distances average over the vertebrae that both label maps have. ``strict``
counts what a reader sees: a false positive lowers the identification rate, a missed or invented vertebra has Dice 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .evaluation import finite_mean
from .labels import SPINE_NAMES

Mode = Literal["official", "strict"]
MODES: tuple[Mode, ...] = ("official", "strict")
RADII_MM = (4.0, 20.0)


def check_mode(mode: str) -> None:
    """ValueError for an unknown mode."""
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: one of {', '.join(MODES)}")


def identified(
    found: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray], radius_mm: float = 20.0
) -> dict[int, bool]:
    """Whether each true vertebra was identified.

    A hit is a found centre to which the true centre of the same label is the nearest of all true centres, closer than
    the radius.

    Args:
        found, truth: label to (3,) mm in one frame.
        radius_mm: of a hit.
    """
    labels = list(truth)
    places = np.array([truth[label] for label in labels]).reshape(-1, 3)
    result = {}
    for label in labels:
        if label not in found:
            result[label] = False
            continue
        distances = np.linalg.norm(places - found[label], axis=1)
        nearest = int(distances.argmin())
        result[label] = labels[nearest] == label and bool(distances[nearest] < radius_mm)
    return result


def localization_metrics(
    found: Mapping[int, np.ndarray],
    truth: Mapping[int, np.ndarray],
    mode: Mode = "official",
    radii_mm: Sequence[float] = RADII_MM,
) -> dict[str, Any]:
    """Figures of the labelled body centres of one image.

    Args:
        found, truth: label to (3,) mm in one frame; vertebrae alone.
        mode: official: hits / true vertebrae; strict: hits / (true vertebrae + false positives).
        radii_mm: of the identification rates.

    Returns:
        ``vertebrae`` (true ones), ``missed`` and ``false_positives`` (labels of one side alone),
        ``hits_<r>mm`` and ``id_rate_<r>mm`` for each radius, ``mld_mm`` (mean distance of the labels of both sides, NaN
        where there is none), ``distances_mm`` (label to distance), ``all_identified`` (strict: every label right within
        the largest radius and none invented).

    Raises:
        ValueError: for an unknown mode.
    """
    check_mode(mode)
    distances = {
        label: float(np.linalg.norm(np.asarray(found[label]) - truth[label])) for label in truth if label in found
    }
    invented = [label for label in found if label not in truth]
    count = len(truth) + (len(invented) if mode == "strict" else 0)
    figures: dict[str, Any] = {
        "vertebrae": len(truth),
        "missed": len(truth) - len(distances),
        "false_positives": len(invented),
    }
    for radius in radii_mm:
        hits = sum(identified(found, truth, radius).values())
        figures[f"hits_{radius:g}mm"] = hits
        figures[f"id_rate_{radius:g}mm"] = hits / count if count else float("nan")
    figures["mld_mm"] = float(np.mean(list(distances.values()))) if distances else float("nan")
    figures["all_identified"] = not invented and all(identified(found, truth, max(radii_mm)).values())
    figures["distances_mm"] = {SPINE_NAMES[label]: distance for label, distance in distances.items()}
    return figures


def summarize_localization(cases: Sequence[Mapping[str, Any]], mode: Mode = "official") -> dict[str, Any]:
    """Figures over all images: rates of all vertebrae together and, as published, of the mean over images.

    Args:
        cases: of :func:`localization_metrics`.
        mode: the one they were measured in.
    """
    total = sum(case["vertebrae"] for case in cases)
    extra = sum(case["false_positives"] for case in cases) if mode == "strict" else 0
    summary: dict[str, Any] = {
        "images": len(cases),
        **{name: sum(case[name] for case in cases) for name in ("vertebrae", "missed", "false_positives")},
    }
    for name in [name for name in cases[0] if name.startswith("id_rate_")] if cases else []:
        hits = sum(case[name.replace("id_rate", "hits")] for case in cases)
        summary[name] = hits / (total + extra) if total + extra else float("nan")
        summary[f"{name}_mean"] = finite_mean([case[name] for case in cases])
    distances = [distance for case in cases for distance in case["distances_mm"].values()]
    summary["mld_mm"] = float(np.mean(distances)) if distances else float("nan")
    summary["mld_sd_mm"] = float(np.std(distances)) if distances else float("nan")
    summary["all_identified_rate"] = finite_mean([float(case["all_identified"]) for case in cases])
    return summary
