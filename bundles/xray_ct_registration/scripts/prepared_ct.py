"""A CT on its way through preprocessing, and the steps that clean, crop and mirror it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from .shared.geometry.masks import edges_touched, keep_largest_components, label_box, present_labels
from .shared.io.errors import CaseError
from .shared.io.itk_images import crop_image, image_center, mirror_image, mirror_matrix

MUCH_REMOVED = 0.1  # of a label: no mere islands


@dataclass(frozen=True)
class PreparedCt:
    """A CT with its labels, and how it came from the file.

    Attributes:
        case: name.
        source: path of the CT.
        ct: HU.
        mask: labels on the same grid, or None.
        side: "left", "right" or None where unknown.
        mirrored: whether it is the mirror image of the patient.
        matrix: (4, 4), LPS mm of the file to LPS mm of ``ct``.
        moves: the steps that moved it, with their matrices.
        steps: report of each step.
        warnings: one line each.
        comparison: labels of the reference on the same grid, after a co-registration.
    """

    case: str
    source: str
    ct: sitk.Image
    mask: sitk.Image | None = None
    side: str | None = None
    mirrored: bool = False
    matrix: np.ndarray = field(default_factory=lambda: np.eye(4))
    moves: tuple[dict[str, Any], ...] = ()
    steps: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    comparison: sitk.Image | None = None

    def note(self, step: str, warnings: Sequence[str] = (), **values: Any) -> PreparedCt:
        """The same with the report of a step."""
        steps = (*self.steps, {"step": step, **values})
        return replace(self, steps=steps, warnings=(*self.warnings, *(f"{step}: {text}" for text in warnings)))

    def moved(self, step: str, matrix: np.ndarray) -> PreparedCt:
        """The same after a step has moved its world by a matrix (4, 4)."""
        move = {"step": step, "matrix": matrix.tolist()}
        return replace(self, matrix=matrix @ self.matrix, moves=(*self.moves, move))

    def with_labels(self, array: np.ndarray) -> PreparedCt:
        """The same with other labels (Z, Y, X) on the grid."""
        mask = sitk.GetImageFromArray(array)
        mask.CopyInformation(self.ct)
        return replace(self, mask=mask)

    def label_image(self) -> sitk.Image:
        """Label map.

        Raises:
            CaseError: where there is none.
        """
        if self.mask is None:
            advice = "put <case>_seg.nii.gz beside it, set --bone_threshold 200, or leave out the steps clean and crop"
            raise CaseError(self.source, "has no label map", advice)
        return self.mask

    def label_array(self) -> np.ndarray:
        """Values (Z, Y, X) of the label map, read-only.

        Raises:
            CaseError: where there is none.
        """
        return sitk.GetArrayViewFromImage(self.label_image())


def clean(prepared: PreparedCt, labels: Sequence[int] | None = None) -> PreparedCt:
    """Keep the largest component of each label.

    Args:
        prepared: with labels.
        labels: the ones to keep; all where None.

    Raises:
        CaseError: where there is no label map, or none of the labels in it.
    """
    array = prepared.label_array()
    cleaned, reports = keep_largest_components(array, labels)
    if not any(report.voxels for report in reports):
        found = ", ".join(map(str, present_labels(array))) or "none at all"
        raise CaseError(
            prepared.source, f"has none of the labels {labels or ''} in its label map, but {found}", "set --labels"
        )
    voxel_mm3 = float(np.prod(prepared.ct.GetSpacing()))
    warnings = [f"label {report.label} does not occur" for report in reports if not report.voxels]
    warnings += [
        f"label {report.label} lost {report.removed_fraction:.0%} in {report.components - 1} components, the largest "
        f"of {report.largest_removed_voxels * voxel_mm3 / 1000:.1f} ml: metal or a fracture may have cut it in two"
        for report in reports
        if report.removed_fraction > MUCH_REMOVED
    ]
    values = [
        {
            "label": report.label,
            "components": report.components,
            "kept_voxels": report.voxels,
            "removed_voxels": report.removed_voxels,
            "removed_mm3": round(report.removed_voxels * voxel_mm3, 1),
        }
        for report in reports
    ]
    dropped = sorted(set(present_labels(array)) - {report.label for report in reports})
    return prepared.with_labels(cleaned).note("clean", warnings, labels=values, dropped_labels=dropped)


def split_sides(prepared: PreparedCt, right_labels: Sequence[int], left_labels: Sequence[int]) -> list[PreparedCt]:
    """One prepared per side of the body, each with the labels of its side and those that belong to neither.

    Args:
        prepared: its side is kept where it is known; a CT without a label map stays as it is.
        right_labels: labels of right-sided anatomy.
        left_labels: the same anatomy on the left, in the same order.

    Returns:
        the prepared with its side; or where labels of both sides occur two, named ``<case>_left`` and ``<case>_right``.
    """
    if prepared.mask is None:
        return [prepared]
    array = prepared.label_array()
    found = {"left": np.isin(array, left_labels).any(), "right": np.isin(array, right_labels).any()}
    sides = [side for side in ("left", "right") if found[side]]
    if prepared.side is not None or len(sides) < 2:
        return [replace(prepared, side=prepared.side or (sides[0] if sides else None))]
    parts = []
    for side, foreign in (("left", right_labels), ("right", left_labels)):
        own = np.where(np.isin(array, foreign), 0, array).astype(array.dtype)
        parts.append(replace(prepared.with_labels(own), case=f"{prepared.case}_{side}", side=side))
    return parts


def crop(prepared: PreparedCt, labels: Sequence[int] | None = None, padding_mm: float = 10.0) -> PreparedCt:
    """Cut out the box of labels with some space around it; the box ends at the edge of the CT.

    Args:
        prepared: with labels.
        labels: the ones that have to be inside; all where None.
        padding_mm: on each side.

    Raises:
        CaseError: where there is no label map, or none of the labels in it.
    """
    array = prepared.label_array()
    wanted = present_labels(array) if labels is None else labels
    box = label_box(array, wanted)
    if box is None:
        raise CaseError(prepared.source, "has none of the labels to crop to in its label map", "set --labels")
    size = np.array(prepared.ct.GetSize())
    padding = np.ceil(padding_mm / np.array(prepared.ct.GetSpacing()) - 1e-6).astype(int)
    low, high = (ends[::-1] for ends in box)
    low, high = np.maximum(low - padding, 0), np.minimum(high + padding, size)
    cut = [label for label in wanted if edges_touched(array, label)]
    warnings = [f"label {label} reaches the edge of the CT, the anatomy may be cut off" for label in cut]
    cropped = replace(
        prepared, ct=crop_image(prepared.ct, low, high), mask=crop_image(prepared.label_image(), low, high)
    )
    values = {"low": low.tolist(), "high": high.tolist(), "size_before": size.tolist(), "padding_mm": padding_mm}
    return cropped.note("crop", warnings, **values, labels_at_edge=cut)


def mirror(prepared: PreparedCt, pairs: Mapping[int, int]) -> PreparedCt:
    """Mirror about the sagittal plane through the centre of the CT, and swap the labels of the sides.

    Args:
        prepared: any.
        pairs: label of the right side to that of the left.
    """
    plane_x = float(image_center(prepared.ct)[0])
    result = replace(prepared, ct=mirror_image(prepared.ct, plane_x), mirrored=not prepared.mirrored)
    if prepared.mask is not None:
        flipped = mirror_image(prepared.mask, plane_x)
        array = sitk.GetArrayFromImage(flipped)
        swap = {**pairs, **{left: right for right, left in pairs.items()}}
        # Room for the highest label that the swap may bring in.
        swapped = array.astype(np.uint16) if max(swap.values(), default=0) > np.iinfo(array.dtype).max else array.copy()
        for old, new in swap.items():
            swapped[array == old] = new
        result = result.with_labels(swapped)
    return result.moved("mirror", mirror_matrix(plane_x)).note("mirror", plane_x_lps_mm=plane_x)
