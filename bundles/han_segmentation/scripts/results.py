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

from .laterality import renaming_note, side_warnings
from .organs import PATIENTS, PHANTOMS, OrganTable
from .pictures import han_picture
from .plausibility import organ_volumes, volume_warnings
from .rtstruct import Series, structure_set
from .shared.geometry.frames import voxel_sizes
from .shared.geometry.grids import volume_affine
from .shared.io.atomic import atomic_path
from .shared.io.cases import is_series
from .shared.io.intake import with_facts
from .shared.io.json_files import write_json
from .shared.pictures.files import save_picture

POSTFIX = "segmentation"
THICK_MM = 4.0
MULTI_FRAME = (
    "no RT structure set: contours cannot name the frames of a multi-frame CT, convert it to one file per slice"
)


def touching_ends(labels: np.ndarray, affine: np.ndarray) -> list[int]:
    """Numbers of the organs that reach the first or last slice towards head or feet, and may go on beyond it."""
    axis = int(np.abs(affine[2, :3] / voxel_sizes(affine)).argmax())
    ends = np.unique(np.stack([np.take(labels, index, axis=axis) for index in (0, -1)]))
    return [int(number) for number in ends if number]


def case_warnings(labels: np.ndarray, affine: np.ndarray, table: OrganTable, shown: Sequence[int]) -> list[str]:
    """Sentences about a label map (X, Y, Z) with its affine (4, 4) to RAS mm: sides, volumes, view, thick slices."""
    found = side_warnings(labels, affine, table)
    volumes = organ_volumes(labels, affine, table)
    found += volume_warnings(volumes, table)
    if missing := [table.names[number] for number in shown if not volumes[number]]:
        found.append(f"not found, perhaps outside of the view: {', '.join(missing)}")
    if cut := touching_ends(labels, affine):
        found.append(f"cut off by the end of the CT: {', '.join(table.names[number] for number in cut)}")
    thick = float(voxel_sizes(affine).max())
    if thick > THICK_MM:
        found.append(f"voxels are {thick:.1f} mm long: small organs are less exact")
    return found


def case_document(
    case: str,
    labels: np.ndarray,
    affine: np.ndarray,
    mr: Mapping[str, Any],
    table: OrganTable,
    shown: Sequence[int],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What ``<case>_segmentation.json`` holds.

    Args:
        case: name.
        labels: (X, Y, Z) uint8.
        affine: (4, 4) to RAS mm.
        mr: "used" and, where there was one, the quality figures or the "reason" for which it was left out; "warnings".
        table: all organs.
        shown: numbers of those that the label map may hold.
        notes: further warnings.

    Returns:
        "case", "labels" (number as text to name, of every organ shown), "learned_from" (name to "patients" or
        "phantoms"), "volumes_ml" (of those found), "mr", "warnings".
    """
    volumes = organ_volumes(labels, affine, table)
    return {
        "case": case,
        "labels": {str(number): table.names[number] for number in shown},
        "learned_from": {table.names[number]: table.organ(number).learned_from for number in shown},
        "volumes_ml": {table.names[n]: round(volume, 3) for n, volume in volumes.items() if volume > 0},
        "mr": {name: value for name, value in mr.items() if name != "warnings"},
        "warnings": [*mr.get("warnings", []), *notes, *case_warnings(labels, affine, table, shown)],
    }


def picture_title(document: Mapping[str, Any]) -> list[str]:
    """Lines above the picture of a case."""
    inputs = "CT and MR" if document["mr"]["used"] else "CT"
    untaught = [name for name in document["volumes_ml"] if document["learned_from"][name] == PHANTOMS]
    mark = [f"* {len(untaught)} organs learned from phantoms alone: not validated on patients"] if untaught else []
    return [f"{document['case']}: {len(document['volumes_ml'])} organs from {inputs}", *mark, *document["warnings"]]


class HanResultsd(MapTransform):
    """Write what is known about the label map of a case, and prepare it for being saved.

    Everything is made before the first file is written: a case leaves all of its files or none. A multi-frame CT gets
    no structure set, which a warning says.

    Args:
        keys: label map (1, X, Y, Z) on the grid of the CT, a MetaTensor.
        table: all organs.
        organs: "patients" to keep what was learned from patients, "all" to keep everything with a mark.
        ct_key: the CT (1, X, Y, Z) in HU.
        mr_key: what became of the MR, JSON text.
        renamed_key: numbers of the organs that were renamed, where there are any.
        output_dir: where ``<case>_segmentation.json``, ``<case>_preview.png`` and, where the CT was a DICOM series,
            ``<case>_rtstruct.dcm`` go; nothing is written where None, or for an item without a name, as a server has.
    """

    def __init__(
        self,
        keys: KeysCollection,
        table: OrganTable,
        organs: str = PATIENTS,
        ct_key: str = "original",
        mr_key: str = "mr_report",
        renamed_key: str = "renamed_sides",
        output_dir: str | os.PathLike | None = None,
    ) -> None:
        super().__init__(keys)
        self.table, self.shown = table, table.shown(organs)
        self.ct_key, self.mr_key, self.renamed_key = ct_key, mr_key, renamed_key
        self.output_dir = None if output_dir is None else Path(str(output_dir))

    def document(
        self, case: str, labels: np.ndarray, affine: np.ndarray, data: Mapping[Hashable, Any]
    ) -> dict[str, Any]:
        """The JSON of a case."""
        mr = json.loads(data.get(self.mr_key) or '{"used": false}')
        notes = [renaming_note(organs, self.table) for organs in data.get(self.renamed_key, [])]
        return case_document(case, labels, affine, mr, self.table, self.shown, notes)

    def write(self, case: str, ct: MetaTensor, labels: MetaTensor, document: dict[str, Any]) -> None:
        """All files of a case but the label map, which is written last by another transform."""
        assert self.output_dir is not None
        source, structures = str(ct.meta.get("filename_or_obj", "")), None
        if is_series(source):
            structures = structure_set(labels.as_tensor()[0].cpu().numpy(), Series.read(source), self.table)
        elif ct.meta.get("modality"):  # DICOM all the same
            document["warnings"].append(MULTI_FRAME)
        picture = han_picture(ct, labels, self.table, picture_title(document))
        write_json(self.output_dir / f"{case}_{POSTFIX}.json", document)
        save_picture(picture, self.output_dir / f"{case}_preview.png")
        if structures is not None:
            with atomic_path(self.output_dir / f"{case}_rtstruct.dcm") as temporary:
                structures.save_as(temporary, enforce_file_format=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        ct: MetaTensor = output[self.ct_key]
        kept = torch.tensor([0, *self.shown])
        for key in self.key_iterator(output):
            given: MetaTensor = output[key]
            values = given.as_tensor().cpu()
            labels = MetaTensor(values * torch.isin(values, kept).to(values.dtype), meta=dict(given.meta))
            case, source = str(output.get("case", "case")), str(ct.meta.get("filename_or_obj", ""))
            renamed = output.get(self.renamed_key, [])
            output[self.renamed_key] = [organs for organs in renamed if set(organs) <= set(self.shown)]
            document = self.document(case, labels.as_tensor()[0].numpy(), volume_affine(labels), output)
            document = with_facts(document, ct)
            if self.output_dir is not None and "case" in output:
                self.write(case, ct, labels, document)
                labels = MetaTensor(labels, meta={**labels.meta, "filename_or_obj": source})
            output["result"] = document
            output[key] = labels
        return output
