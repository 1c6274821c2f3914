"""The true CTs that predictions are compared with."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .shared.io.cases import find_cases
from .shared.io.errors import CaseError
from .shared.io.itk_images import read_image, resample, to_sitk
from .shared.networks.clustering.biplanar import volume_affine

logger = logging.getLogger(__name__)


def truth_files(truth_dir: str | os.PathLike) -> dict[str, str]:
    """Paths of the CTs of a folder, by the case that each belongs to: ``<case>_ct`` or ``<case>``.

    Raises:
        CaseError: where there is no such folder, or no CT in it.
    """
    if not Path(truth_dir).is_dir():
        raise CaseError(truth_dir, "no such folder", "give --truth_dir the folder of the true CTs, <case>_ct.nii.gz")
    found = find_cases(truth_dir, "volume")
    return {item["case"].removesuffix("_ct"): item["image"] for item in found}


def truth_path(truth_dir: str | os.PathLike, case: str) -> Path:
    """The true CT of a case: ``<case>_ct`` or ``<case>`` in any format, or a DICOM folder of that name.

    Raises:
        CaseError: where there is none.
    """
    found = truth_files(truth_dir)
    if case not in found:
        raise CaseError(truth_dir, f"holds no CT of {case}", f"name it {case}_ct.nii.gz")
    return Path(found[case])


def grid_of_volume(volume_size: Sequence[int], spacing_mm: float) -> sitk.Image:
    """The grid of a prediction."""
    return to_sitk(np.zeros(volume_size, np.uint8), volume_affine(volume_size, spacing_mm).numpy())


def read_truth(path: str | os.PathLike, volume_size: Sequence[int], spacing_mm: float) -> Tensor:
    """HU (X, Y, Z) of a CT on the grid of the prediction, NaN where the CT does not reach."""
    grid, image = grid_of_volume(volume_size, spacing_mm), read_image(path)
    inside = sitk.GetImageFromArray(np.ones(image.GetSize()[::-1], np.uint8))
    inside.CopyInformation(image)
    values = torch.from_numpy(sitk.GetArrayFromImage(resample(image, grid)).T.copy())
    known = torch.from_numpy(sitk.GetArrayFromImage(resample(inside, grid, fill=0, labels=True)).T.copy())
    return torch.where(known > 0, values, torch.nan)


def read_regions(labels_dir: str | os.PathLike, case: str, volume_size: Sequence[int], spacing_mm: float) -> Tensor:
    """Labels (X, Y, Z) of the label map ``<case>`` on the grid of the prediction; 0 where there is none."""
    found = {item["case"]: item["image"] for item in find_cases(labels_dir, "volume")}
    if case not in found:
        return torch.zeros(tuple(volume_size), dtype=torch.int64)
    labels = resample(read_image(found[case]), grid_of_volume(volume_size, spacing_mm), fill=0, labels=True)
    return torch.from_numpy(np.rint(sitk.GetArrayFromImage(labels)).T.astype(np.int64))


def with_truth(cases: Sequence[dict[str, str]], truth_dir: str | os.PathLike) -> list[dict[str, str]]:
    """The cases that have a true CT, which is added to each as "truth".

    Args:
        cases: as ``find_pairs`` gives them.
        truth_dir: folder of the true CTs.

    Raises:
        CaseError: where there is no such folder, or no CT of any of the cases.
    """
    found = truth_files(truth_dir)
    without = [case["case"] for case in cases if case["case"] not in found]
    if cases and len(without) == len(cases):
        raise CaseError(truth_dir, f"holds no CT of {without[0]}", "name the CTs <case>_ct.nii.gz")
    if without:
        logger.warning("%s holds no CT of %s: not evaluated", truth_dir, ", ".join(without))
    return [{**case, "truth": found[case["case"]]} for case in cases if case["case"] in found]
