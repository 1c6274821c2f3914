"""Measuring named body centres, and the report about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .evaluation import VERTEBRAE, Truth, finite_mean
from .labels import SPINE_LABELS, craniocaudal_order
from .localization_metrics import MODES, localization_metrics, summarize_localization
from .result_json import points_of

NEAR_MM = 20.0  # from a cut vertebra: what bears its label here is not counted


def counted(found: Mapping[int, np.ndarray], truth: Truth) -> dict[int, np.ndarray]:
    """Found vertebrae without those that lie where the truth has the same one, cut."""
    return {
        label: point
        for label, point in found.items()
        if label in VERTEBRAE and not (label in truth.cut and float(np.linalg.norm(point - truth.cut[label])) < NEAR_MM)
    }


def label_figures(result: Mapping[str, Any] | None, truth: Truth) -> dict[str, Any]:
    """Figures of the labelled body centres of a result document, for both modes; a refused case has found nothing."""
    result = {"landmarks": []} if result is None else result
    found = counted(points_of(result), truth)
    modes = {mode: localization_metrics(found, truth.centres, mode) for mode in MODES}
    strict = modes["strict"]
    return {
        **{name: value for name, value in modes["official"].items() if not name.startswith("hits")},
        "strict_id_rate_20mm": strict["id_rate_20mm"],
        "level_uncertain": bool(result.get("level_uncertain", not found)),
        "margin": result.get("margin"),
        "warnings": list(result.get("warnings", [])),
        "localization": modes,
    }


def per_label(rows: Sequence[Mapping[str, Any]], figures: Sequence[str]) -> list[dict[str, Any]]:
    """Means of each vertebra over all cases, from head to foot; ``figures`` are those of its masks."""
    table = []
    for label in craniocaudal_order(VERTEBRAE):
        name = next(name for name, number in SPINE_LABELS.items() if number == label)
        distances = [row["distances_mm"][name] for row in rows if name in row["distances_mm"]]
        own = [row["per_vertebra"][name] for row in rows if name in row.get("per_vertebra", {})]
        if distances or own:
            entry: dict[str, Any] = {"name": name, "found": len(distances), "mld_mm": finite_mean(distances)}
            if own:
                entry |= {f"{figure}_mean": finite_mean([one[figure] for one in own]) for figure in figures}
            table.append(entry)
    return table


def summarize_labels(
    rows: Sequence[Mapping[str, Any]], figures: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures over all cases, those of both modes under their names, and those of each vertebra.

    Args:
        rows: of all cases.
        figures: of the masks of each vertebra.
    """
    summary: dict[str, Any] = {
        mode: summarize_localization([row["localization"][mode] for row in rows], mode) for mode in MODES
    }
    wrong = [not row["localization"]["strict"]["all_identified"] for row in rows]
    doubted = [bool(row["level_uncertain"]) for row in rows]
    summary |= {
        "level_uncertain_rate": finite_mean([float(value) for value in doubted]),
        "uncertain_where_wrong": finite_mean([float(d) for d, w in zip(doubted, wrong, strict=True) if w]),
        "right_where_certain": finite_mean([float(not w) for d, w in zip(doubted, wrong, strict=True) if not d]),
    }
    return summary, {"vertebrae": per_label(rows, figures)}


def label_headline(summary: Mapping[str, Any]) -> str:
    """The main figures in one line."""
    official, strict = summary["official"], summary["strict"]
    return (
        f"id-rate {official['id_rate_20mm']:.1%} official, {strict['id_rate_20mm']:.1%} strict, "
        f"{official['id_rate_4mm']:.1%} within 4 mm, MLD {official['mld_mm']:.2f} mm"
    )
