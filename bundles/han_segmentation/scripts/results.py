"""What is reported about a case: names, volumes, what became of the MR, warnings, a picture, an RT structure set."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .han_picture import han_picture
from .laterality import side_warnings
from .organs import NAMES, ORGANS
from .rtstruct import is_series, write_structure_set
from .shared.geometry.grids import volume_affine
from .shared.io.atomic import atomic_path
from .shared.io.json_files import write_json

POSTFIX = "segmentation"
THICK_MM = 4.0


def organ_volumes(labels: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    """Millilitres of every organ that occurs in a label map (X, Y, Z) with its affine (4, 4) in mm, by name."""
    counts = np.bincount(labels.ravel(), minlength=len(NAMES) + 1)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return {name: round(int(counts[number]) * voxel_ml, 3) for number, name in NAMES.items() if counts[number]}


def touching_ends(labels: np.ndarray, affine: np.ndarray) -> list[str]:
    """Names of the organs that reach the first or last slice towards head or feet, and may go on beyond it."""
    axis = int(np.abs(affine[2, :3] / np.linalg.norm(affine[:3, :3], axis=0)).argmax())
    ends = [np.unique(np.take(labels, index, axis=axis)) for index in (0, -1)]
    return [NAMES[number] for number in NAMES if any(number in end for end in ends)]


def case_warnings(labels: np.ndarray, affine: np.ndarray) -> list[str]:
    """Sentences about a label map (X, Y, Z) with its affine (4, 4) to RAS mm: sides, view, thick slices."""
    found = side_warnings(labels, affine)
    present = set(np.unique(labels).tolist())
    if missing := [organ.name for organ in ORGANS if organ.number not in present]:
        found.append(f"not found, perhaps outside of the view: {', '.join(missing)}")
    if cut := touching_ends(labels, affine):
        found.append(f"cut off by the end of the CT: {', '.join(cut)}")
    thick = float(np.linalg.norm(affine[:3, :3], axis=0).max())
    if thick > THICK_MM:
        found.append(f"voxels are {thick:.1f} mm long: small organs are less exact")
    return found


def case_document(
    case: str, labels: np.ndarray, affine: np.ndarray, mr: Mapping[str, Any], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """What ``<case>_segmentation.json`` holds.

    Args:
        case: name.
        labels: (X, Y, Z) uint8.
        affine: (4, 4) to RAS mm.
        mr: "used" and, where there was one, the quality figures or the "reason" for which it was left out; "warnings".
        notes: further warnings.

    Returns:
        "case", "labels" (number as text to name, of every organ), "volumes_ml" (of those found), "mr", "warnings".
    """
    warnings = [*mr.get("warnings", []), *notes, *case_warnings(labels, affine)]
    return {
        "case": case,
        "labels": {str(number): name for number, name in NAMES.items()},
        "volumes_ml": organ_volumes(labels, affine),
        "mr": {name: value for name, value in mr.items() if name != "warnings"},
        "warnings": warnings,
    }


def picture_title(document: Mapping[str, Any]) -> list[str]:
    """Lines above the picture of a case."""
    inputs = "CT and MR" if document["mr"]["used"] else "CT"
    return [f"{document['case']}: {len(document['volumes_ml'])} organs from {inputs}", *document["warnings"]]


class HanResultsd(MapTransform):
    """Write what is known about the label map of a case, and prepare it for being saved.

    Args:
        keys: label map (1, X, Y, Z) on the grid of the CT, a MetaTensor.
        ct_key: the CT (1, X, Y, Z) in HU.
        mr_key: what became of the MR, JSON text.
        notes_key: sentences about organs that were renamed, where there are any.
        output_dir: where ``<case>_segmentation.json``, ``<case>_preview.png`` and, where the CT was a DICOM series,
            ``<case>_rtstruct.dcm`` go; nothing is written where None, or for an item without a name, as a server has.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        ct_key: str = "original",
        mr_key: str = "mr_report",
        notes_key: str = "side_notes",
        output_dir: str | os.PathLike | None = None,
    ) -> None:
        super().__init__(keys)
        self.ct_key, self.mr_key, self.notes_key = ct_key, mr_key, notes_key
        self.output_dir = None if output_dir is None else Path(str(output_dir))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        ct: MetaTensor = output[self.ct_key]
        for key in self.key_iterator(output):
            labels: MetaTensor = output[key]
            array = labels.as_tensor()[0].cpu().numpy()
            mr = json.loads(output.get(self.mr_key) or '{"used": false}')
            case, source = str(output.get("case", "case")), str(ct.meta.get("filename_or_obj", ""))
            document = case_document(case, array, volume_affine(labels), mr, output.get(self.notes_key, []))
            if self.output_dir is not None and "case" in output:
                write_json(self.output_dir / f"{case}_{POSTFIX}.json", document)
                with atomic_path(self.output_dir / f"{case}_preview.png") as temporary:
                    han_picture(ct, labels, picture_title(document)).save(temporary, format="png")
                if is_series(source):
                    write_structure_set(array, source, self.output_dir / f"{case}_rtstruct.dcm", NAMES)
                labels = MetaTensor(labels, meta={**labels.meta, "filename_or_obj": source})
            output["result"] = document
            output[key] = labels
        return output


def no_organs(ct: MetaTensor) -> MetaTensor:
    """An empty label map (1, X, Y, Z) uint8 on the grid of a CT."""
    return MetaTensor(torch.zeros(ct.shape, dtype=torch.uint8), meta=dict(ct.meta))
