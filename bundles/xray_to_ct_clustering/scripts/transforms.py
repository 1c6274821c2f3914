"""Both X-rays of a case as one image for the network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .appearance import VIEWS, Appearance
from .evidence import SAME, compare_views, different_tags, same_picture
from .intake import Options, read_view
from .shared.io.errors import CaseError
from .shared.networks.clustering.biplanar import BiplanarGeometry
from .standard_view import standard_view
from .xray_pairs import NAMES, pair_of_file

INTAKE = "intake"


class LoadXrayPaird(MapTransform):
    """Reads the frontal and the lateral X-ray of a case.

    ``image`` becomes a MetaTensor (2, rows, columns), frontal and lateral, scaled as in training. Its metadata hold
    ``projections`` (2, 3, 4), which the network takes, and ``filename_or_obj``. ``intake`` becomes a JSON text of what
    is known about the views: geometry, what was changed, evidence, warnings.

    Args:
        keys: of the path of the frontal X-ray. The lateral one is under the key "lateral", or beside it by name.
        geometry: of the training.
        appearance: of the training X-rays.
        pixel_spacing, sdd, source_to_isocenter, absorbing, orientation, frontal_view, lateral_side, mirror: see
            `Options`.

    Raises:
        CaseError: when called, where a view is missing, no radiograph, or the same picture as the other.
    """

    def __init__(
        self,
        keys: KeysCollection,
        geometry: BiplanarGeometry,
        appearance: Appearance,
        pixel_spacing: float | Sequence[float] | None = None,
        sdd: float | None = None,
        source_to_isocenter: float | None = None,
        absorbing: str = "auto",
        orientation: str = "auto",
        frontal_view: str = "auto",
        lateral_side: str = "auto",
        mirror: str = "none",
    ) -> None:
        super().__init__(keys)
        self.geometry, self.appearance = geometry, appearance
        self.options = Options(
            pixel_spacing, sdd, source_to_isocenter, absorbing, orientation, frontal_view, lateral_side, mirror
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            path = str(output[key])
            pair = output if "lateral" in output else pair_of_file(Path(path), None)  # a server of labels has no cases
            for view, other in zip(VIEWS, VIEWS[::-1], strict=True):
                if not pair[view]:
                    problem = f"{view} X-ray missing: a volume needs both views, there is a {other} one alone"
                    raise CaseError(path, problem, NAMES)
            pictures = [read_view(pair[view], view, self.options) for view in VIEWS]
            if (likeness := same_picture(pictures)) > SAME:
                problem = (
                    f"shows the same picture as the frontal X-ray (correlation {likeness:.2f}): lateral view missing"
                )
                raise CaseError(pair["lateral"], problem, "give a second X-ray, taken at right angles to the first")
            views = [
                standard_view(picture, self.geometry, self.appearance, view)
                for picture, view in zip(pictures, VIEWS, strict=True)
            ]
            intake = {
                "case": str(pair["case"]),
                "views": {name: view.facts for name, view in zip(VIEWS, views, strict=True)},
                "geometry": {name: dataclasses.asdict(view.geometry) for name, view in zip(VIEWS, views, strict=True)},
                "orientation": {name: view.orientation for name, view in zip(VIEWS, views, strict=True)},
                "pixel_size": {name: view.pixel_size for name, view in zip(VIEWS, views, strict=True)},
                "evidence": {
                    "same_picture": round(likeness, 4),
                    "differ_in": different_tags(pictures),
                    **compare_views(views, self.appearance),
                },
                "warnings": [
                    f"{name}: {line}" for name, view in zip(VIEWS, views, strict=True) for line in view.warnings
                ],
            }
            # each view may have distances of its own
            projections = torch.stack([view.geometry.projections()[index] for index, view in enumerate(views)])
            meta = {"filename_or_obj": path, "projections": projections}
            output[key] = MetaTensor(torch.stack([view.image for view in views]), meta=meta)
            output[INTAKE] = json.dumps(intake)
        return output
