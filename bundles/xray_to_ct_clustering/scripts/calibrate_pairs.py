"""Measures how well X-rays of different patients agree, and how many pairs every limit accepts.

``python -m scripts.calibrate_pairs --dataset_dir PAIRS`` pairs every frontal X-ray with every lateral one of another
patient, writes ``scripts/pair_agreement.json``, and prints a table of limits. The checks of the predicted volume come
on top.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from .appearance import VIEWS, Appearance
from .evidence import EvidenceLimits, compare_views
from .intake import Options, read_view
from .pair_agreement import OTHERS, pair_agreement, profile_correlations
from .render_pairs import INFERENCE, read_setup
from .shared.engines.terminal import run_command
from .shared.io.json_files import write_json
from .standard_view import PositionedView, standard_view
from .xray_pairs import find_pairs

BUNDLE = Path(__file__).resolve().parent.parent
LIMITS = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)


def accepted(views: list[PositionedView], model: Appearance, limit: float) -> bool:
    """Whether the checks before the prediction accept a pair."""
    limits = EvidenceLimits(pair_agreement=limit)
    return not limits.reasons(compare_views(views, model), (1.0, 1.0))


def calibrate(
    dataset_dir: str,
    patient: str = r"p\d+",
    output: str = str(Path(__file__).with_name("pair_agreement.json")),
    appearance_path: str = str(BUNDLE / "models" / "xray_appearance.pt"),
) -> None:
    """Measure and write.

    Args:
        dataset_dir: pairs of real X-rays.
        patient: pattern of the name of the patient in that of a case; all cases of a patient count as his.
        output: file to write.
        appearance_path: statistics of the training X-rays.
    """
    geometry, model = read_setup(INFERENCE)[0], Appearance.load(appearance_path)
    views, names = [], []
    for case in find_pairs(dataset_dir):
        pictures = [read_view(case[view], view, Options()) for view in VIEWS]
        pair = zip(pictures, VIEWS, strict=True)
        views.append([standard_view(picture, geometry, model, view) for picture, view in pair])
        found = re.search(patient, case["case"])
        names.append(found[0] if found else case["case"])
    count = range(len(views))
    others = [[views[i][0], views[j][1]] for i in count for j in count if names[i] != names[j]]
    correlations = [profile_correlations(torch.stack([view.image for view in pair])) for pair in others]
    table = {}
    for name in OTHERS:
        values = [found[name] for found in correlations]
        table[name] = {"mean": round(float(np.mean(values)), 3), "sd": round(float(np.std(values)), 3)}
    write_json(output, table)
    own = [pair_agreement(torch.stack([view.image for view in pair])) for pair in views]
    print("agreement of the pairs as they are:", ", ".join(f"{value:.2f}" for value in sorted(own)))
    for limit in LIMITS:
        true, false = (sum(accepted(pair, model, limit) for pair in some) for some in (views, others))
        print(f"limit {limit}: {true} of {len(views)} true pairs, {false} of {len(others)} shuffled pairs accepted")


if __name__ == "__main__":
    run_command(calibrate)
