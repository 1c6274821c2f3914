"""What is reported about the vertebrae of a CT: labelled body centres as JSON, balls as a label map, a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from .shared.engines.settings import flag
from .shared.io.intake import with_facts
from .shared.io.json_files import write_json
from .shared.io.point_files import write_landmarks
from .shared.pictures.files import save_picture
from .shared.spine.balls import ball_map
from .shared.spine.case_keys import ORIGINAL, case_name
from .shared.spine.ct_check import ct_warnings
from .shared.spine.heatmap_files import save_vertebra_heatmaps
from .shared.spine.labelling_json import labelling_result, picture_title
from .shared.spine.result_json import points_of
from .shared.spine.spine_picture import spine_picture
from .shared.spine.vertebra_stage import MIN_PEAK, check_labelling, label_heatmaps, place_heatmaps


class VertebraLabelsd(MapTransform):
    """Turn the heatmaps into labelled vertebrae and a label map of balls on the grid of the CT.

    Args:
        keys: heatmaps (27, x, y, z).
        image_key: their input, whose affine they have.
        output_dir: where ``<case>_landmarks.json``, ``<case>_spine_centroid.json`` and ``<case>_vertebrae.png`` go;
            nothing is written where None.
        peak, min_score, min_peak: as :func:`~shared.spine.vertebra_stage.label_heatmaps` takes them.
        save_intermediates: write the heatmaps to ``intermediates/<case>``.

    Raises:
        CaseError: when no vertebra can be labelled.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        output_dir: str | os.PathLike | None = None,
        peak: float | Sequence[float] | None = None,
        min_score: float = 0.1,
        min_peak: float = MIN_PEAK,
        save_intermediates: bool = False,
    ) -> None:
        super().__init__(keys)
        self.image_key, self.peak, self.min_score, self.min_peak = image_key, peak, min_score, min_peak
        self.output_dir = None if output_dir is None else Path(str(output_dir))
        self.save_intermediates = flag("save_intermediates", save_intermediates)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        volume, case = output[ORIGINAL], case_name(output)
        for key in self.key_iterator(output):
            heatmaps = place_heatmaps(torch.as_tensor(output[key]).cpu(), output[self.image_key])
            labelling = label_heatmaps(heatmaps, volume, self.peak, self.min_score, self.min_peak)
            check_labelling(labelling, volume)
            result = labelling_result(case, labelling)
            result["warnings"] += ct_warnings(volume)
            result = with_facts(result, volume)
            points = points_of(result)
            if self.output_dir is not None and "case" in output:  # a server of labels has no cases
                write_landmarks(self.output_dir / f"{case}_landmarks.json", result)
                write_json(self.output_dir / f"{case}_spine_centroid.json", json.loads(output["spine"]))
                picture = spine_picture(volume, points, title=picture_title(result))
                save_picture(picture, self.output_dir / f"{case}_vertebrae.png")
                if self.save_intermediates:
                    save_vertebra_heatmaps(heatmaps, points, self.output_dir / "intermediates" / case)
            output["result"] = result
            output[key] = ball_map(points, volume)
        return output
