"""Transforms of inference: a case as input of the network, its MR registered or left out."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from .cases import MR, find_han_cases
from .mr_registration import Alignment, align_mr
from .network_input import AIR_HU, aligned_image, network_input, on_grid, working_grid
from .organs import OrganTable
from .shared.engines.settings import flag
from .shared.io.errors import CaseError, one_line
from .shared.io.itk_images import read_image, to_sitk

REGISTRATION_MM = 2.0  # voxels of the CT to which the MR is registered
ORIGINAL = "original"


def inference_cases(
    dataset_dir: str | os.PathLike,
    table: OrganTable,
    mr: str | os.PathLike | None = None,
    modalities: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Cases of a CT, a case folder, or a folder of such, for inference.

    Args:
        dataset_dir, table, mr, modalities: as :func:`~.cases.find_han_cases` takes them.

    Returns:
        "case", "image" (the CT) and where there are such "mr" and the further modalities; "problem" for a folder that
        is wrong.
    """
    kept = (MR, *modalities, "problem")
    return [
        {"image": item["ct"], "case": item["case"], **{key: item[key] for key in kept if key in item}}
        for item in find_han_cases(dataset_dir, table, mr, modalities)
    ]


def aligned(modality: str) -> str:
    """Key of an image of a modality in the world of the CT."""
    return f"aligned_{modality}"


class RefuseWrongCase(Transform):
    """Raise what was found wrong about a case while its files were looked for.

    Raises:
        CaseError: for items with "problem".
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        if "problem" in data:
            raise CaseError(*data["problem"])
        return data


def read_beside(path: str) -> sitk.Image:
    """An image beside the CT; whatever goes wrong with it is said of its own file.

    Raises:
        CaseError: for a file that cannot be read.
    """
    try:
        return read_image(path, allow_constant=True)
    except CaseError:
        raise
    except Exception as error:
        raise CaseError(path, f"cannot be read ({one_line(str(error))[:120]})", "convert it again") from error


def register_mr(ct: MetaTensor, path: str) -> tuple[MetaTensor | None, dict[str, Any]]:
    """The MR of a file in the world of a CT.

    Args:
        ct: (1, X, Y, Z) HU.
        path: of the MR.

    Returns:
        as :func:`~.network_input.aligned_image` gives it, None where it does not fit; what the user should know:
        "used", "file", quality figures, the matrix from LPS mm of the MR to those of the CT, "reason" of a refusal,
        "warnings".

    Raises:
        CaseError: for a file that cannot be read.
    """
    mr = read_beside(path)
    affine, size = working_grid(ct, REGISTRATION_MM)
    found = align_mr(to_sitk(on_grid(ct, affine, size, AIR_HU)[0].numpy(), affine), mr)
    return (aligned_image(mr, found.matrix) if found.accepted else None), mr_report(path, found)


def mr_report(path: str, found: Alignment) -> dict[str, Any]:
    """What is reported about the MR of a case."""
    report: dict[str, Any] = {"used": found.accepted, "file": os.path.basename(path), "warnings": []}
    if not found.accepted:
        report["reason"] = found.refusal
        report["warnings"].append(f"the MR was left out, {found.refusal}: the result is from the CT alone")
        return report
    figures = {"information": found.information, "inside": found.inside, "stretch": found.stretch}
    report |= {name: round(value, 4) for name, value in figures.items()}
    report["mr_to_ct_lps_mm"] = np.round(found.matrix, 6).tolist()
    if found.doubt:
        report["warnings"].append(f"MR: {found.doubt}")
    return report


class HanInputd(MapTransform):
    """A CT and, where there is one, its MR as input of the network.

    Args:
        keys: the CT (1, X, Y, Z), which stays under "original".
        spacing_mm: of the working grid.
        table: whose windows show the CT.
        use_mr: whether to use the MR under "mr".
        modalities: keys of further images, which lie in the world of the CT as their headers say.

    "image" becomes (channels, x, y, z) on the working grid, a MetaTensor. Adds "mr_report" as JSON text, and
    "aligned_mr" and the like for what is there and fits.

    Raises:
        CaseError: for an MR that cannot be read.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing_mm: float,
        table: OrganTable,
        use_mr: bool = True,
        modalities: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.windows_hu = table.windows_hu
        self.spacing_mm, self.use_mr, self.modalities = spacing_mm, flag("use_mr", use_mr), tuple(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            ct: MetaTensor = output[key]
            output[ORIGINAL] = ct
            images, report = {}, {"used": False}
            if self.use_mr and MR in output:
                images[MR], report = register_mr(ct, str(output[MR]))
            for name in (name for name in self.modalities if name in output):
                images[name] = aligned_image(read_beside(str(output[name])), np.eye(4))
            affine, size = working_grid(ct, self.spacing_mm)
            others = [images.get(name) for name in (MR, *self.modalities)]
            image = network_input(ct, others, affine, size, self.windows_hu)
            output[key] = MetaTensor(image, affine=torch.as_tensor(affine))
            output["mr_report"] = json.dumps(report)
            output |= {aligned(name): volume for name, volume in images.items() if volume is not None}
        return output
