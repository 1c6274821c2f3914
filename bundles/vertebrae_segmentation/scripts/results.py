"""What is reported about the vertebrae of a CT: label map, landmarks, a table, a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from .anatomy import vertebra_table, write_vertebra_table
from .merging import merge_vertebrae
from .shared.geometry.frames import plain_tensor
from .shared.geometry.grids import volume_affine
from .shared.io.intake import with_facts
from .shared.io.json_files import write_json
from .shared.io.point_files import write_landmarks
from .shared.pictures.files import save_picture
from .shared.spine.case_keys import ORIGINAL, case_name
from .shared.spine.ct_check import ct_warnings
from .shared.spine.labelling_json import picture_title
from .shared.spine.labels import SPINE_NAMES
from .shared.spine.result_json import points_of
from .shared.spine.spine_picture import spine_picture


class VertebraMasksd(MapTransform):
    """Turn the logits of all crops into one label map on the grid of the CT, and write what is known about the case.

    Args:
        keys: logits (N, x, y, z).
        output_dir: where ``<case>_landmarks.json``, ``<case>_spine_centroid.json`` (unless landmarks were given),
            ``<case>_vertebrae.csv`` and ``.json`` and ``<case>_preview.png`` go; nothing is written where None.
    """

    def __init__(self, keys: KeysCollection = "pred", output_dir: str | os.PathLike | None = None) -> None:
        super().__init__(keys)
        self.output_dir = None if output_dir is None else Path(str(output_dir))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        volume, case = output[ORIGINAL], case_name(output)
        result, spine = json.loads(output["labelling"]), json.loads(output["spine"])
        points = points_of(result)
        for key in self.key_iterator(output):
            logits = plain_tensor(output[key])
            labels = merge_vertebrae(logits, torch.as_tensor(output["crop_affines"]), list(points), volume)
            result["warnings"] += ct_warnings(volume)
            result = with_facts(result, volume)
            if empty := [SPINE_NAMES[label] for label in points if not (labels.as_tensor() == label).any()]:
                result["warnings"].append(f"found but not segmented: {', '.join(empty)}")
            if self.output_dir is not None and "case" in output:  # a server of labels has no cases
                arrays = (labels.as_tensor()[0].numpy(), volume.as_tensor()[0].cpu().numpy())
                rows = vertebra_table(*arrays, volume_affine(volume))
                write_landmarks(self.output_dir / f"{case}_landmarks.json", result)
                if spine:
                    write_json(self.output_dir / f"{case}_spine_centroid.json", spine)
                table = self.output_dir / f"{case}_vertebrae.csv"
                write_vertebra_table(table, rows, table.with_suffix(".json"))
                picture = spine_picture(volume, points, labels, picture_title(result))
                save_picture(picture, self.output_dir / f"{case}_preview.png")
            output["result"] = result
            output[key] = labels
        return output
