"""Body centres of a training case, from its centroid file or its label map, and the anchor in the sacrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from ..geometry.frames import transform_points
from ..geometry.grids import volume_affine
from .body import body_centres
from .centroids import read_centroids
from .labels import SPINE_LABELS, VERTEBRA_LABELS

SACRUM = SPINE_LABELS["sacrum"]
FREE_LUMBAR = tuple(VERTEBRA_LABELS[name] for name in ("L6", "L5", "L4"))  # what may lie on the sacrum
REACH_MM = 52.0  # from the lowest lumbar body to the farthest voxels of S1
STEP_MM = 33.0  # from the centre of the lowest lumbar body to that of S1
RADIUS_MM = 18.0  # of the body of S1
MIDLINE_MM = 20.0


def sacral_centre(labels: MetaTensor, centres: dict[int, np.ndarray]) -> np.ndarray | None:
    """Centre (3,) of the body of S1 in RAS mm; None without a sacrum or without the vertebra above it.

    The sacrum is one label: its voxels near the midline and near the lowest lumbar body tell the direction in which S1
    lies, those around the usual place of its centre their mean.
    """
    above = next((centres[label] for label in FREE_LUMBAR if label in centres), None)
    if above is None:
        return None
    indices = np.argwhere(labels.as_tensor()[0].numpy() == SACRUM)
    if not len(indices):
        return None
    points = transform_points(volume_affine(labels), indices) - above
    near = points[(np.abs(points[:, 0]) < MIDLINE_MM) & (np.linalg.norm(points, axis=1) < REACH_MM)]
    if not len(near):
        return None
    guess = near.mean(axis=0)
    guess *= STEP_MM / np.linalg.norm(guess)
    body = near[np.linalg.norm(near - guess, axis=1) < RADIUS_MM]
    return above + (body.mean(axis=0) if len(body) else guess)


def case_centres(
    path: Path | None, labels: MetaTensor | None, volume: MetaTensor
) -> tuple[dict[int, np.ndarray], list[int]]:
    """Body centres of a case.

    Args:
        path: centroid file, or None: the centres are derived from the label map.
        labels: label map, or None.
        volume: the CT, on whose grid centroid files in voxels are.

    Returns:
        label to RAS mm (3,), with the centre of S1 under the number of the sacrum where it is known; labels that the CT
        may show without being listed: the sacrum, which many label maps leave out.

    Raises:
        CaseError: for a centroid file that cannot be read.
    """
    if path is not None:
        centres = read_centroids(path, volume)
    elif labels is not None:
        centres = body_centres(labels.as_tensor()[0].numpy(), volume_affine(labels))
    else:
        raise ValueError("centroids or a label map are needed")
    if SACRUM not in centres and labels is not None:
        anchor = sacral_centre(labels, centres)
        if anchor is not None:
            centres[SACRUM] = anchor
    lowest = any(label in centres for label in FREE_LUMBAR)
    has_sacrum = labels is not None and bool((labels.as_tensor() == SACRUM).any())
    return centres, [SACRUM] if SACRUM not in centres and (lowest or has_sacrum) else []
