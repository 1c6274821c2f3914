"""Preparing all cases of a folder ahead of a training, and pictures of what was prepared."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from PIL import Image

from .data import check_reference
from .organs import OrganTable
from .pictures import han_picture
from .shared.engines.case_evaluator import CaseDataset
from .shared.engines.process_cases import process_cases
from .shared.pictures.files import save_picture

logger = logging.getLogger(__name__)
MR_WINDOW = (0.0, 255.0)


class CheckReference(Transform):
    """Refuse a case that cannot be prepared for a training.

    Raises:
        CaseError: for a folder that is wrong, or a case without contours.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        check_reference([{str(key): value for key, value in data.items()}], str(data.get("ct", "case")))
        return data


def write_cache(dataset: CaseDataset) -> None:
    """Prepare every case, which keeps it in the cache of the data set's transform.

    Raises:
        SystemExit: with code 1 at the end if a case failed.
    """

    def tell(item: Mapping[str, Any]) -> None:
        size = " x ".join(str(n) for n in item["hu"].shape)
        mr = "with MR" if len(item["mr"]) else "CT alone"
        logger.info("%s: %s voxels, %s, %d organs", item["case"], size, mr, int(item["valid"][1:].sum()))

    process_cases(dataset, "preprocess", tell)


def case_picture(item: Mapping[str, Any], table: OrganTable) -> Image.Image:
    """A prepared case: the CT with its organs, and below it the MR, where there is one, with the same organs."""
    affine = torch.as_tensor(np.asarray(item["affine"]))

    def volume(array: np.ndarray) -> MetaTensor:
        return MetaTensor(torch.from_numpy(np.array(array))[None], affine=affine)

    labels = volume(item["labels"])
    missing = [name for number, name in table.names.items() if item["valid"][number] < 0.5]
    lines = [f"{item['case']}: {len(table) - len(missing)} organs contoured"]
    if missing and len(missing) < len(table) // 2:
        lines.append(f"not contoured: {', '.join(missing)}")
    pictures = [han_picture(volume(item["hu"]), labels, table, lines)]
    if len(item["mr"]):
        pictures.append(han_picture(volume(item["mr"][0]), labels, table, ["the aligned MR"], MR_WINDOW))
    joined = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), (30, 30, 30))
    top = 0
    for picture in pictures:
        joined.paste(picture, (0, top))
        top += picture.height
    return joined


def write_pictures(dataset: CaseDataset, output_dir: str, table: OrganTable) -> None:
    """Write ``<case>.png`` of every prepared case.

    Raises:
        SystemExit: with code 1 at the end if a case failed.
    """

    def draw(item: Mapping[str, Any]) -> None:
        save_picture(case_picture(item, table), Path(output_dir) / f"{item['case']}.png")

    process_cases(dataset, "display", draw)
