"""Cases of a registration: single X-rays, or several views of a patient taken together."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from .shared.drr.geometry import Detector
from .shared.io.cases import find_cases
from .shared.io.errors import CaseError
from .shared.xray.attenuation import Absorbing
from .views import make_view
from .xray_input import read_xray

ADVICE = 'give [{"image": file, "camera_to_first": 4x4 matrix}, ...] under "views"'
SIDE_CAR = "_geometry.json"


def read_views(path: Path) -> dict[str, Any]:
    """Case of a ``views.json``: {"case", "views": [{"image", "camera_to_first"}, ...]}; paths relative to the file.

    Raises:
        CaseError: where the file has another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = [str(path.parent / view["image"]) for view in content["views"]]
        matrices = [view["camera_to_first"] for view in content["views"]]
        rigid = torch.tensor(matrices, dtype=torch.float64).reshape(-1, 4, 4)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CaseError(path, "is no list of views", ADVICE) from error
    turn = rigid[:, :3, :3]
    if not images or not torch.allclose(turn @ turn.mT, torch.eye(3).double(), atol=1e-3):
        raise CaseError(path, "holds a camera_to_first that is not rigid", ADVICE)
    return {"image": images[0], "case": str(content.get("case", path.parent.name)), "views": str(path)}


def registration_cases(dataset_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """X-rays of a file or folder, one case each; a folder with `views.json` is one case of several views.

    Raises:
        CaseError: where there is none.
    """
    root = Path(dataset_dir)
    if root.is_dir():
        files = sorted([*root.glob("views.json"), *root.glob("*/views.json")])
        if files:
            return [read_views(path) for path in files]
    return find_cases(dataset_dir, "xray")


def side_car(path: Path) -> Detector | None:
    """Detector from ``<name>_geometry.json`` beside an image, None where there is none.

    Raises:
        CaseError: where it cannot be read.
    """
    beside = path.with_name(path.name.split(".")[0] + SIDE_CAR)
    if not beside.is_file():
        return None
    try:
        return Detector.from_dict(json.loads(beside.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        advice = "give rows, columns, mm_per_pixel, principal_point_offset_mm and sdd"
        raise CaseError(beside, "is no geometry of a detector", advice) from error


class LoadViews(Transform):
    """Reads the X-rays of a case.

    ``image`` becomes the first X-ray, a MetaTensor (1, columns, rows); its metadata hold ``views``, a list of
    `RadiographView`, and ``paths``. The geometry comes from the DICOM header, from ``<name>_geometry.json`` beside the
    image, or from the arguments.

    Args:
        sdd: source-to-detector distance [mm] of files that do not say it.
        pixel_spacing: distance of rows and columns [mm], or one number, likewise.
        absorbing: see `xray_input.read_xray`.
    """

    def __init__(
        self,
        sdd: float | None = None,
        pixel_spacing: float | Sequence[float] | None = None,
        absorbing: Absorbing = "auto",
    ) -> None:
        self.sdd, self.pixel_spacing, self.absorbing = sdd, pixel_spacing, absorbing

    def __call__(self, data: Mapping[Any, Any]) -> dict[Hashable, Any]:
        paths, poses = [str(data["image"])], [torch.eye(4, dtype=torch.float64)]
        if "views" in data:
            table = Path(str(data["views"]))
            listed = json.loads(table.read_text(encoding="utf-8"))["views"]
            paths = [str(table.parent / view["image"]) for view in listed]
            matrices = [torch.tensor(view["camera_to_first"], dtype=torch.float64) for view in listed]
            poses = [torch.linalg.inv(matrices[0]) @ matrix for matrix in matrices]
        views = []
        for path, pose in zip(paths, poses, strict=True):
            beside = side_car(Path(path))
            sdd = beside.sdd if beside else self.sdd
            spacing = list(beside.pixel_mm[::-1]) if beside else self.pixel_spacing
            xray = read_xray(path, sdd, spacing, self.absorbing)
            detector = replace(xray.detector, offset_mm=beside.offset_mm) if beside else xray.detector
            views.append(make_view(xray.image[0, 0], detector, pose))
        meta = {"filename_or_obj": paths[0], "views": views, "paths": paths}
        return {**data, "image": MetaTensor(views[0].image[0].mT.contiguous(), meta=meta)}


def only_case(batch: list[Any]) -> Any:
    """Collate of a loader of cases, one at a time, as they are: views differ in number and size.

    Raises:
        ValueError: for several cases.
    """
    if len(batch) != 1:
        raise ValueError(f"cases are processed one by one: the loader needs batch_size 1, got {len(batch)}")
    return batch[0]


def prepare_case(batchdata: Mapping[str, Any], *args: Any, **kwargs: Any) -> tuple[MetaTensor, None]:
    """``prepare_batch`` of the evaluator: the X-ray with its views, and no label."""
    return batchdata["image"], None
