"""Makes ``models/xray_appearance.pt``, by which inference tells pictures that are unlike the training data.

``python -m scripts.fit_appearance --dataset_dir CTS --kept_out "['LUNG1-001']"`` renders X-rays of deformed patients as
training does. The limits are those that 99 of 100 further X-rays stay below, with a margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .appearance import Appearance
from .data.pairs import RandomPairs
from .data.patients import load_patients
from .render_pairs import read_setup
from .shared.engines.terminal import run_command
from .shared.io.atomic import atomic_path

MARGIN = 1.5  # of the limit over what training X-rays reach: another patient differs more than a deformed one
BUNDLE = Path(__file__).resolve().parent.parent


def training_pairs(
    dataset_dir: str | None,
    kept_out: Sequence[str],
    phantoms: int,
    count: int,
    seed: int,
    cache_dir: str | None,
    config_file: str,
    fine_mm: float = 2.5,
) -> Tensor:
    """Pairs (count, 2, rows, columns) rendered as `train.json` has them; those that a training has cached are taken."""
    geometry, spacing_mm, size = read_setup(config_file)
    patients = load_patients(dataset_dir, fine_mm, None, kept_out, phantoms, 0, True, cache_dir)
    variants = 0 if cache_dir is None else count
    pairs = RandomPairs(patients, count, size, spacing_mm, geometry, seed, variants, cache_dir)
    return torch.stack([pairs[0, index]["image"] for index in range(count)])


def fit_limits(model: Appearance, pairs: Tensor) -> Tensor:
    """Limits (2,) of the strangeness from X-rays (N, 2, rows, columns) that the model has not seen."""
    worst = [torch.quantile(model.strangeness(pairs[:, view], view), 0.99) for view in range(2)]
    return MARGIN * torch.stack(worst)


def main(
    dataset_dir: str | None = None,
    kept_out: Sequence[str] = (),
    phantoms: int = 32,
    count: int = 400,
    seed: int = 0,
    cache_dir: str | None = None,
    config_file: str = str(BUNDLE / "configs" / "train.json"),
    output: str = str(BUNDLE / "models" / "xray_appearance.pt"),
) -> None:
    """Fit to three quarters of ``count`` pairs, take the limits from the others, write the model.

    Args:
        dataset_dir: CTs of the training.
        kept_out: names of those that it does not see.
        phantoms: of the training.
        count: pairs.
        seed: of the training.
        cache_dir: ``cache_dir`` of the training.
        config_file: whose geometry and volume count.
        output: file to write.
    """
    pairs = training_pairs(dataset_dir, kept_out, phantoms, count, seed, cache_dir, config_file)
    fitted = count * 3 // 4
    model = Appearance.fit(pairs[:fitted])
    limits = fit_limits(model, pairs[fitted:])
    with atomic_path(output) as path:
        torch.save(Appearance(model.mean, model.components, model.spread, limits).tensors(), path)
    print(f"{output}: limits {limits[0]:.3f} frontal, {limits[1]:.3f} lateral")


if __name__ == "__main__":
    run_command(main)
