"""What a label map and its CT tell about each vertebra: volume, density, heights of the body, completeness."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .shared.geometry.frames import ras_to_lps, transform_points, voxel_sizes
from .shared.io.atomic import atomic_path
from .shared.spine.body import ATLAS, body_mask
from .shared.spine.labels import SPINE_NAMES, VERTEBRA_LABELS, craniocaudal_order

STRIP_MM = 10.0  # half width of the strip of the body in which heights are measured
BAND = 0.2  # depth of the anterior, middle and posterior band, as a share of the body's depth
BANDS = {"anterior": 0.2, "middle": 0.5, "posterior": 0.8}  # where they lie from front to back
CORE_MM = 4.0  # from the surface of the body to the cancellous bone in which density is measured
COLUMNS = (
    "label", "name", "volume_cm3", "mean_hu", "core_hu", "height_anterior_mm", "height_middle_mm",
    "height_posterior_mm", "complete", "x", "y", "z",
)  # fmt: skip


def upward_directions(centres: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Unit vectors (3,) along the spine at each body centre, from the neighbours; straight up for a single one."""
    labels = craniocaudal_order(centres)
    found = {}
    for index, label in enumerate(labels):
        above, below = labels[max(index - 1, 0)], labels[min(index + 1, len(labels) - 1)]
        line = centres[above] - centres[below]
        length = float(np.linalg.norm(line))
        found[label] = line / length if length > 0 else np.array([0.0, 0.0, 1.0])
    return found


def body_heights(
    body: np.ndarray, whole: np.ndarray, up: np.ndarray, front: np.ndarray, voxel_mm3: float
) -> dict[str, float]:
    """Mean heights of a body in three bands from front to back.

    The height of a band is its volume over the area that it covers seen from above, so that it averages the curved end
    plates. The opening that finds the body rounds its edges: it only tells where the body ends at the back, in front of
    which the whole vertebra is counted.

    Args:
        body: (N, 3) voxel centres of the body in mm.
        whole: (M, 3) those of the vertebra.
        up: (3,) unit vector along the spine.
        front: (3,) any vector that points forward.
        voxel_mm3: volume of one voxel.

    Returns:
        anterior, middle, posterior in mm; NaN where a band is empty.
    """
    forward = front - (front @ up) * up
    forward /= np.linalg.norm(forward)
    side = np.cross(forward, up)
    centre, edge = body.mean(axis=0), voxel_mm3 ** (1 / 3)

    def share(distance: np.ndarray, half_width: float) -> np.ndarray:
        """Part of each voxel inside a band, so that heights do not jump with the grid."""
        return np.clip((half_width - np.abs(distance)) / edge + 0.5, 0, 1)

    depth, across = (whole - centre) @ forward, (whole - centre) @ side
    strip = share(across, STRIP_MM)
    back_end = float(((body - centre) @ forward).min()) - edge / 2
    in_strip = depth[(strip > 0.5) & (depth > back_end)]
    if not len(in_strip):
        return dict.fromkeys(BANDS, float("nan"))
    front_end = float(np.quantile(in_strip, 0.99)) + edge / 2
    width = BAND * (front_end - back_end)
    breadth = min(2 * STRIP_MM, float(np.ptp((body - centre) @ side)) + edge)
    heights = {}
    for name, place in BANDS.items():
        middle = front_end - place * (front_end - back_end)
        volume = voxel_mm3 * float((strip * share(depth - middle, width / 2)).sum())
        heights[name] = volume / (width * breadth) if volume else float("nan")
    return heights


def measure_vertebra(
    mask: np.ndarray, values: np.ndarray | None, label: int, affine: np.ndarray, up: np.ndarray
) -> dict[str, Any]:
    """Row of one vertebra without its completeness.

    Args:
        mask: bool (X, Y, Z), the vertebra in its box.
        values: HU of the box, or None.
        label: its number.
        affine: (4, 4) from voxels of the box to RAS mm.
        up: (3,) unit vector along the spine.
    """
    spacing = voxel_sizes(affine)
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    body = body_mask(mask, label, spacing)
    points = transform_points(affine, np.argwhere(body))
    centre = points.mean(axis=0)
    whole = transform_points(affine, np.argwhere(mask))
    backward = whole.mean(axis=0) - centre  # towards the arch
    front = -backward if label != ATLAS and np.linalg.norm(backward) > 2.0 else np.array([0.0, 1.0, 0.0])
    unknown = dict.fromkeys(BANDS, float("nan"))
    heights = unknown if label == ATLAS else body_heights(points, whole, up, front, voxel_mm3)
    row: dict[str, Any] = {
        "label": label,
        "name": SPINE_NAMES[label],
        "volume_cm3": round(voxel_mm3 * float(mask.sum()) / 1000, 3),
        "mean_hu": float("nan"),
        "core_hu": float("nan"),
        **{f"height_{name}_mm": round(float(height), 2) for name, height in heights.items()},
    }
    if values is not None:
        row["mean_hu"] = round(float(values[mask].mean()), 1)
        core = ndimage.distance_transform_edt(np.pad(body, 1), sampling=spacing)[1:-1, 1:-1, 1:-1] > CORE_MM
        if label != ATLAS and core.any():
            row["core_hu"] = round(float(values[core].mean()), 1)
    return row | dict(zip("xyz", np.round(ras_to_lps(centre), 2).tolist(), strict=True))


def vertebra_table(labels: np.ndarray, image: np.ndarray | None, affine: np.ndarray) -> list[dict[str, Any]]:
    """Measures of all vertebrae of a label map, from head to foot.

    Args:
        labels: whole numbers (X, Y, Z) in those of ``spine_labels``; the sacrum and others are left out.
        image: HU (X, Y, Z), or None.
        affine: (4, 4) from voxels to RAS mm.

    Returns:
        one row per vertebra: ``label``, ``name``, ``volume_cm3``, ``mean_hu`` (whole vertebra), ``core_hu`` (the inner
        cancellous bone of the body), ``height_{anterior,middle,posterior}_mm``, ``complete`` (does not touch the border
        of the image), ``x``, ``y``, ``z`` (body centre, LPS mm). NaN for what cannot be measured.
    """
    matrix = np.asarray(affine, dtype=float)
    labels = np.asarray(labels)
    if labels.dtype.kind == "f":
        labels = np.round(labels).astype(np.int16)
    boxes = dict(enumerate(ndimage.find_objects(labels), start=1))
    present = craniocaudal_order(label for label in VERTEBRA_LABELS.values() if boxes.get(label) is not None)

    def own_affine(box: Sequence[slice]) -> np.ndarray:
        moved = matrix.copy()
        moved[:3, 3] = transform_points(matrix, [part.start for part in box])
        return moved

    # rough centres are enough for the direction of the spine
    rough = {}
    for label in present:
        index = np.argwhere(labels[boxes[label]] == label).mean(axis=0)
        moved = own_affine(boxes[label])
        rough[label] = transform_points(moved, index)
    ups = upward_directions(rough)
    rows = []
    for label in present:
        box = boxes[label]
        values = None if image is None else np.asarray(image[box], dtype=np.float32)
        row = measure_vertebra(labels[box] == label, values, label, own_affine(box), ups[label])
        inside = all(part.start > 0 and part.stop < size for part, size in zip(box, labels.shape, strict=True))
        rows.append({name: (row | {"complete": inside})[name] for name in COLUMNS})
    return rows


def write_vertebra_table(
    csv_path: str | os.PathLike, rows: Sequence[Mapping[str, Any]], json_path: str | os.PathLike | None = None
) -> None:
    """Write rows of :func:`vertebra_table` as CSV and, where a path is given, as JSON; what is NaN stays empty."""
    clean = [
        {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]
    with atomic_path(csv_path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(clean)
    if json_path is not None:
        with atomic_path(json_path) as temporary:
            temporary.write_text(json.dumps(clean, indent=1, allow_nan=False) + "\n", encoding="utf-8")
