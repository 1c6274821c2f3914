"""Cases of a registration: single X-rays, or several views of a patient taken together."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from PIL import Image

from .shared.io.cases import find_cases
from .shared.io.errors import CaseError
from .shared.io.file_names import image_stem
from .shared.xray.attenuation import Absorbing
from .shared.xray.geometry import pose_from_header
from .views import make_view
from .xray_input import read_view

ADVICE = 'give [{"image": file, "camera_to_first": 4x4 matrix}, ...] under "views"'
MIRRORS = "mirrors"
MASK_ADVICE = "give a picture of the size of the X-ray, 0 where it does not count, or a folder of <X-ray>_mask.png"


def read_views(path: Path) -> dict[str, Any]:
    """Case of a ``views.json``: {"case", "views": [{"image", "camera_to_first"}, ...]}; paths relative to the file.

    ``camera_to_first`` (4, 4) is rigid: a rotation, millimetres, and a last row of 0 0 0 1.

    Raises:
        CaseError: where the file has another form, or names an image that is not there.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = [path.parent / view["image"] for view in content["views"]]
        matrices = torch.tensor([view["camera_to_first"] for view in content["views"]], dtype=torch.float64)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CaseError(path, "is no list of views", ADVICE) from error
    if not images or matrices.shape != (len(images), 4, 4):
        raise CaseError(path, "is no list of views", ADVICE)
    for image, matrix in zip(images, matrices, strict=True):
        if problem := rigid_problem(matrix):
            raise CaseError(path, f"holds a camera_to_first of {image.name} that {problem}", ADVICE)
        if not image.is_file():
            raise CaseError(
                path, f"names {image}, which is no file", "give the path of the image as seen from this file"
            )
    return {"image": str(images[0]), "case": str(content.get("case", path.parent.name)), "views": str(path)}


def rigid_problem(matrix: torch.Tensor) -> str:
    """Why a (4, 4) matrix is no rotation with a translation in mm; "" where it is one."""
    turn = matrix[:3, :3]
    if not torch.isfinite(matrix).all():
        return "holds numbers that are not finite"
    if not torch.allclose(matrix[3], torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=matrix.dtype), atol=1e-6):
        return "has another last row than 0 0 0 1"
    if not torch.allclose(turn @ turn.mT, torch.eye(3, dtype=matrix.dtype), atol=1e-3):
        return "is not rigid"
    return "" if torch.linalg.det(turn) > 0 else MIRRORS


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


class LoadViews(Transform):
    """Reads the X-rays of a case.

    ``image`` becomes the first X-ray, a MetaTensor (1, columns, rows); its metadata hold ``views``, a list of
    `RadiographView`, ``paths``, and ``intake``, what is known about each: its ``pixel_size``, ``orientation`` and
    ``warnings``. The geometry comes from the arguments, the side car ``<name>_geometry.json`` beside the image, or the
    DICOM header.

    Args:
        sdd: source-to-detector distance [mm].
        pixel_spacing: distance of rows and columns [mm], or one number.
        absorbing: see `shared.xray.intake.Given`.
        xray_mask: picture that is 0 where an X-ray does not count (metal, hands), or a folder with
            ``<name of the X-ray>_mask.png`` for some of them.
    """

    def __init__(
        self,
        sdd: float | None = None,
        pixel_spacing: float | Sequence[float] | None = None,
        absorbing: Absorbing = "auto",
        xray_mask: str | os.PathLike | None = None,
    ) -> None:
        if xray_mask is not None and not Path(xray_mask).exists():
            raise CaseError(xray_mask, "no such mask", MASK_ADVICE)
        self.xray_mask = None if xray_mask is None else Path(xray_mask)
        self.sdd, self.pixel_spacing, self.absorbing = sdd, pixel_spacing, absorbing

    def __call__(self, data: Mapping[Any, Any]) -> dict[Hashable, Any]:
        paths, poses = [str(data["image"])], [torch.eye(4, dtype=torch.float64)]
        if "views" in data:
            table = Path(str(data["views"]))
            listed = json.loads(table.read_text(encoding="utf-8"))["views"]
            paths = [str(table.parent / view["image"]) for view in listed]
            matrices = [torch.tensor(view["camera_to_first"], dtype=torch.float64) for view in listed]
            poses = [torch.linalg.inv(matrices[0]) @ matrix for matrix in matrices]
        views, intake = [], []
        for path, pose in zip(paths, poses, strict=True):
            xray, detector = read_view(path, self.sdd, self.pixel_spacing, self.absorbing)
            view = make_view(torch.from_numpy(xray.pixels), detector, pose)
            counts = read_mask(self.xray_mask, Path(path), (detector.rows, detector.columns))
            views.append(view if counts is None else replace(view, mask=view.mask * counts))
            c_arm = pose_from_header(xray.header)
            intake.append(
                {
                    # the pose is looked for in the view that the options say, and the picture taken as it lies
                    "orientation": "option",
                    "pixel_size": xray.pixel_size.content() if xray.pixel_size is not None else None,
                    "sdd_from": xray.sources["sdd"],
                    "absorbing": xray.absorbing,
                    # of a C-arm whose isocentre is the origin: DICOM does not relate it to a CT
                    "c_arm_camera_to_world": None if c_arm is None else c_arm[0].tolist(),
                    "warnings": xray.warnings,
                }
            )
        meta = {"filename_or_obj": paths[0], "views": views, "paths": paths, "intake": intake}
        return {**data, "image": MetaTensor(views[0].image[0].mT.contiguous(), meta=meta)}


def read_mask(given: Path | None, image: Path, shape: tuple[int, int]) -> torch.Tensor | None:
    """Mask (1, 1, rows, columns) float32 of an X-ray, 1 where it counts; None where there is none.

    Raises:
        CaseError: where it is no picture, of another size, or 0 everywhere.
    """
    if given is None:
        return None
    path = given / f"{image_stem(image)}_mask.png" if given.is_dir() else given
    if given.is_dir() and not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            counts = np.asarray(picture.convert("L")) > 0
    except OSError as error:
        raise CaseError(path, "is no picture", MASK_ADVICE) from error
    if counts.shape != shape or not counts.any():
        problem = f"has {counts.shape[0]} x {counts.shape[1]} pixels for an X-ray of {shape[0]} x {shape[1]}"
        raise CaseError(path, problem if counts.shape != shape else "is 0 everywhere", MASK_ADVICE)
    return torch.from_numpy(counts.astype(np.float32))[None, None]


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
