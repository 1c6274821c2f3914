"""What is written about a case: volume, clusters, uncertainty, a document and a picture."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from .appearance import VIEWS
from .evidence import EvidenceLimits
from .hounsfield import HU_RANGE, hu_to_intensity, tissue_name
from .inferer import CHANNELS
from .pictures import Shown, draw_case
from .reprojection import ReprojectionLoss
from .shared.engines.settings import flag
from .shared.evaluation.reports import plain
from .shared.geometry.frames import plain_tensor, transform_points
from .shared.io.errors import CaseError
from .shared.io.json_files import write_json
from .shared.io.writers import write_nifti
from .shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine
from .shared.pictures.files import save_picture
from .transforms import INTAKE

logger = logging.getLogger(__name__)


def cluster_table(volume: Tensor, spacing_mm: float, level: str = "cluster") -> list[dict[str, Any]]:
    """What each cluster holds, of the inferer's output (6, X, Y, Z); those without voxels are left out.

    Args:
        volume: output of the inferer.
        spacing_mm: edge of a voxel.
        level: "cluster" or "coarse_cluster".
    """
    values = dict(zip(CHANNELS, volume.flatten(1).double().numpy(), strict=True))
    labels = values[level].astype(int)
    affine = volume_affine(volume.shape[1:], spacing_mm).numpy()
    indices = np.stack(np.unravel_index(np.arange(labels.size), volume.shape[1:]), axis=1)
    rows = []
    for label in np.unique(labels[labels > 0]):
        inside = labels == label
        hu = values["hu"][inside]
        centre = transform_points(affine, indices[inside].mean(axis=0))
        rows.append(
            {
                "label": int(label),
                "name": f"{tissue_name(float(hu.mean()))} {label}",
                "voxels": int(inside.sum()),
                "mean_hu": round(float(hu.mean()), 1),
                "sd_hu": round(float(hu.std()), 1),
                "uncertainty_hu": round(float(values["uncertainty_hu"][inside].mean()), 1),
                "confidence": round(float(values["confidence"][inside].mean()), 3),
                "center_mm": dict(zip("xyz", np.round(centre, 1).tolist(), strict=True)),
            }
        )
    return rows


def rendered_views(
    hu: Tensor, images: Tensor, geometry: Mapping[str, Mapping[str, Any]], spacing_mm: float, hu_range: Sequence[float]
) -> tuple[Tensor, list[float]]:
    """The volume rendered in the views of the X-rays, and how similar they are.

    Args:
        hu: (X, Y, Z).
        images: (2, rows, columns), the X-rays.
        geometry: fields of the `BiplanarGeometry` of each view.
        spacing_mm: of the volume.
        hu_range: that the volume is limited to.

    Returns:
        (2, rows, columns) attenuation integrals; similarity of frontal and lateral view in [-1, 1].
    """
    intensity = hu_to_intensity(hu, hu_range)[None, None]
    renderings, similarities = [], []
    for index, name in enumerate(VIEWS):
        loss = ReprojectionLoss(BiplanarGeometry(**geometry[name]), spacing_mm, hu_range)
        renderings.append(loss.render(intensity)[0, index])
        similarities.append(float(loss.similarity(intensity, images[None])[0, index]))
    return torch.stack(renderings), similarities


class VolumeResultd(MapTransform):
    """Judges a prediction, writes everything about it but the volume, and leaves the volume for SaveImaged.

    ``<case>_volume.json``, ``<case>_clusters.nii.gz`` (label 1 to K, names in the JSON), ``<case>_confidence.nii.gz``
    (probability of that cluster), ``<case>_coarse_clusters.nii.gz`` where there are two levels,
    ``<case>_uncertainty.nii.gz`` (expected absolute error in HU) and ``<case>_preview.png`` are written.
    ``pred`` becomes the volume (1, X, Y, Z) in HU with its affine, ``channels`` is what the inferer gave. The world is
    RAS mm with the isocentre of the views as origin.

    Args:
        keys: prediction (6, X, Y, Z) of the inferer.
        spacing_mm: edge of a voxel.
        output_dir: folder; nothing is written where None, or where the data have no "case" (a server of labels).
        limits: of the evidence.
        refuse: whether a case that fails is refused, with its reasons; otherwise it is written and says so.
        hu_range: of the volume.

    Raises:
        CaseError: when called, for a case that is refused.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing_mm: float,
        output_dir: str | os.PathLike | None = None,
        limits: EvidenceLimits | None = None,
        refuse: bool = True,
        hu_range: Sequence[float] = HU_RANGE,
    ) -> None:
        super().__init__(keys)
        self.spacing_mm, self.limits, self.hu_range = spacing_mm, limits or EvidenceLimits(), tuple(hu_range)
        self.output_dir = None if output_dir is None else Path(str(output_dir))
        self.refuse = flag("refuse", refuse)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        image, intake = output["image"], json.loads(output[INTAKE])
        xrays = plain_tensor(image).float().cpu()
        xrays = xrays.reshape(2, *xrays.shape[-2:])
        for key in self.key_iterator(output):
            volume = plain_tensor(output[key]).float().cpu()
            affine = volume_affine(volume.shape[1:], self.spacing_mm)
            rendered, similarity = rendered_views(volume[0], xrays, intake["geometry"], self.spacing_mm, self.hu_range)
            reasons = self.limits.reasons(intake["evidence"], similarity)
            if intake["warnings"]:
                logger.warning("%s: %s", intake["case"], "; ".join(intake["warnings"]))
            path = str(image.meta.get("filename_or_obj", intake["case"])) if isinstance(image, MetaTensor) else ""
            if reasons and self.refuse:
                raise CaseError(path, "; ".join(reasons), "give other X-rays, or --refuse False to get it all the same")
            document = self.document(intake, volume, affine, similarity, reasons)
            if reasons:
                logger.warning(
                    "%s: REJECTED, written because of --refuse False: %s", intake["case"], "; ".join(reasons)
                )
            if self.output_dir is not None and "case" in output:
                self.write(document, volume, affine, xrays, rendered)
            meta = {"filename_or_obj": str(intake["case"])}
            output[key] = MetaTensor(volume[:1].round(), affine=affine, meta=meta)
            output["channels"], output["result"] = volume, document
        return output

    def document(
        self,
        intake: Mapping[str, Any],
        volume: Tensor,
        affine: Tensor,
        similarity: Sequence[float],
        reasons: Sequence[str],
    ) -> dict[str, Any]:
        """Content of ``<case>_volume.json``."""
        table = cluster_table(volume, self.spacing_mm)
        return {
            "case": intake["case"],
            "frame": "RAS mm, origin at the isocentre of the two views",
            "size": list(volume.shape[1:]),
            "mm_per_voxel": self.spacing_mm,
            "affine": affine.tolist(),
            "hu_range": list(self.hu_range),
            "accepted": not reasons,
            "reasons": list(reasons),
            "similarity": dict(zip(VIEWS, (round(value, 4) for value in similarity), strict=True)),
            "orientation": intake["orientation"],
            "pixel_size": intake["pixel_size"],
            "evidence": intake["evidence"],
            "views": intake["views"],
            "mean_uncertainty_hu": plain(round(float(volume[1].mean()), 1)),
            "labels": {str(row["label"]): row["name"] for row in table},
            "clusters": table,
            "coarse_clusters": cluster_table(volume, self.spacing_mm, "coarse_cluster"),
            "warnings": [*intake["warnings"], *reasons],
        }

    def write(
        self, document: Mapping[str, Any], volume: Tensor, affine: Tensor, xrays: Tensor, rendered: Tensor
    ) -> None:
        """Write the files of a case but the volume."""
        assert self.output_dir is not None
        case = document["case"]
        kind = torch.uint8 if volume[2].max() < 256 else torch.int16
        write_nifti(volume[2].to(kind), affine, self.output_dir / f"{case}_clusters.nii.gz")
        if document["coarse_clusters"]:
            write_nifti(volume[5].to(torch.uint8), affine, self.output_dir / f"{case}_coarse_clusters.nii.gz")
        write_nifti(volume[3], affine, self.output_dir / f"{case}_confidence.nii.gz")
        write_nifti(volume[1], affine, self.output_dir / f"{case}_uncertainty.nii.gz")
        write_json(self.output_dir / f"{case}_volume.json", document)
        figure = draw_case(Shown(volume, xrays, rendered, self.spacing_mm), document)
        save_picture(figure, self.output_dir / f"{case}_preview.png")
