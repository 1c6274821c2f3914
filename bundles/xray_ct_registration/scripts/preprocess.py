"""Preprocessing of CTs for registration: clean labels, crop, mirror, co-register, centre, make isotropic."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .bones import separate_bones
from .coregistration import LIMITS, coregister, inside_image, reference_itself, select_labels
from .ct_files import ct_cases, labels_on_grid, read_ct, read_labels
from .prepared_ct import PreparedCt, clean, crop, mirror, split_sides
from .shared.geometry.hounsfield import AIR_HU
from .shared.geometry.masks import keep_largest_components, present_labels
from .shared.io.errors import CaseError
from .shared.io.itk_images import covering_grid, image_center, move_image, resample
from .transform_file import grid_values, is_on_grid, read_transform

logger = logging.getLogger(__name__)

STEPS = ("clean", "crop", "coregister", "resample")
NO_MASK_STEPS = {"coregister", "resample"}  # what a CT without a label map can go through


def check_settings(
    steps: Sequence[str], right: Sequence[int], left: Sequence[int], spacing_mm: float, padding_mm: float
) -> None:
    """Refuse settings that contradict each other.

    Raises:
        CaseError: with the name of the setting.
    """
    if not steps or set(steps) - set(STEPS) or list(steps) != [step for step in STEPS if step in steps]:
        raise CaseError("--steps", f"are {list(steps)}", f"name some of {', '.join(STEPS)} in this order")
    if len(right) != len(left) or len({*right, *left}) != len(right) + len(left) or 0 in {*right, *left}:
        problem = f"have {len(right)} and {len(left)} labels, or one of them twice"
        raise CaseError("--right_labels and --left_labels", problem, "name each right label and its left one once")
    if not 0.1 <= spacing_mm <= 20 or not 0 <= padding_mm <= 500:
        problem = f"are {spacing_mm} and {padding_mm}"
        raise CaseError("--spacing_mm and --padding_mm", problem, "give 0.1 to 20 mm and 0 to 500 mm")


def read_prepared(item: Mapping[str, str], bone_threshold: float | None = None) -> PreparedCt:
    """A case as it lies on disk.

    A ``<case>_transform.json`` beside the CT that belongs to its grid says how an earlier step made it: then the CT's
    original is that step's.

    Args:
        item: as :func:`ct_cases.ct_cases` gives it.
        bone_threshold: HU above which a CT without a label map gets one of its bones; no such where None.

    Raises:
        CaseError: where a file cannot be used.
    """
    ct = read_ct(item["image"])
    prepared = PreparedCt(item["case"], item["image"], ct, side=item.get("side"))
    if "mask" in item:
        mask, resampled = labels_on_grid(read_labels(item["mask"]), ct, item["mask"])
        prepared = replace(prepared, mask=mask)
        if resampled:
            prepared = prepared.note(
                "read", ["the label map had another grid than the CT and was resampled"], mask=item["mask"]
            )
    elif bone_threshold is not None:
        prepared = replace(prepared, mask=separate_bones(ct, bone_threshold)).note("bones", threshold_hu=bone_threshold)
    path = Path(item["image"])
    earlier = path.parent / f"{item['case']}_transform.json"
    if earlier.is_file():
        record = read_transform(earlier)
        if is_on_grid(ct, record["preprocessed_grid"]):
            return replace(
                prepared,
                source=record["source"],
                matrix=record["original_to_preprocessed"],
                moves=tuple(record["moves"]),
                mirrored=record["mirrored"],
            )
    return prepared


def move(prepared: PreparedCt, matrix: np.ndarray, step: str) -> PreparedCt:
    """A prepared moved by a rigid matrix (4, 4); grids move, values stay."""
    mask = None if prepared.mask is None else move_image(prepared.mask, matrix)
    return replace(prepared.moved(step, matrix), ct=move_image(prepared.ct, matrix), mask=mask)


def to_grid(prepared: PreparedCt, grid: sitk.Image, clean_again: bool) -> PreparedCt:
    """A prepared on another grid, labels from the nearest voxel.

    Args:
        prepared: any.
        grid: image whose grid counts.
        clean_again: keep the largest component of each label, as a thin part may have fallen apart.
    """
    kept = inside_image(grid, prepared.ct, np.eye(4))
    ct = resample(prepared.ct, grid, AIR_HU)
    result = replace(prepared, ct=sitk.Cast(sitk.Round(ct), sitk.sitkInt16) if fits_int16(prepared.ct) else ct)
    warnings = []
    if prepared.mask is not None:
        before = prepared.label_array()
        array = sitk.GetArrayFromImage(resample(prepared.mask, grid, 0, labels=True))
        if clean_again:
            array, _ = keep_largest_components(array)
        result = result.with_labels(array)
        for label in present_labels(before):
            share = float(kept[before == label].mean())
            if share < 0.98 or not (array == label).any():
                warnings.append(f"{share:.0%} of label {label} lie inside the new grid")
    return result.note("grid", warnings, **grid_values(grid))


def fits_int16(image: sitk.Image) -> bool:
    """Whether rounding to int16 keeps the values of a CT (whole HU, no overflow)."""
    array = sitk.GetArrayViewFromImage(image)
    return array.dtype.kind in "iu" or (np.abs(array).max() < 32767 and bool((array == np.round(array)).all()))


class PreprocessCase:
    """Take a case through the steps of preprocessing: ``__call__(item) -> list[PreparedCt]``, one or (left, right).

    Args:
        cases: all of them, among which the reference is looked for.
        steps: some of "clean", "crop" (which mirrors right-sided anatomy as well), "coregister" and "resample".
        labels: that are kept and cropped to; all where None. Where some of them are sided, the crop is around those of
            one side, and the others stay where they are inside.
        right_labels: labels of right-sided anatomy, which is mirrored.
        left_labels: the labels of the same anatomy on the left, in the same order.
        padding_mm: around the labels.
        bone_threshold: HU above which a CT without a label map gets one of its bones, the largest being 1; none where
            None.
        reference: name of a case, or a CT that is taken as it is, to co-register with; the first case where None.
        mask_suffix: of the label map beside a reference that is a file.
        limits: figures beyond which a co-registration counts as failed, in place of the usual ones.
        spacing_mm: of the cubic voxels.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, str]],
        steps: Sequence[str] = STEPS,
        labels: Sequence[int] | None = None,
        right_labels: Sequence[int] = (),
        left_labels: Sequence[int] = (),
        padding_mm: float = 10.0,
        bone_threshold: float | None = None,
        reference: str | None = None,
        mask_suffix: str = "_seg",
        limits: Mapping[str, float] | None = None,
        spacing_mm: float = 1.0,
    ) -> None:
        check_settings(steps, right_labels, left_labels, spacing_mm, padding_mm)
        self.cases, self.steps, self.labels = list(cases), list(steps), labels
        self.right_labels, self.left_labels = list(right_labels), list(left_labels)
        self.padding_mm, self.bone_threshold = padding_mm, bone_threshold
        self.limits, self.spacing_mm = {**LIMITS, **(limits or {})}, spacing_mm
        self.reference = self.find_reference(reference, mask_suffix) if "coregister" in self.steps else None

    def find_reference(self, name: str | None, mask_suffix: str) -> PreparedCt:
        """The reference after the steps before co-registration.

        Args:
            name: of a case; None for the first one that can be used; or the path of a CT, which is taken as it is.
            mask_suffix: of the label map beside such a file.

        Raises:
            CaseError: when there is no such case or it cannot be used.
        """
        for item in self.cases:
            if name is not None and name not in (item["case"], f"{item['case']}_left", f"{item['case']}_right"):
                continue
            try:
                parts = self.prepare(item)
            except CaseError:
                if name is None and item is not self.cases[-1]:
                    continue
                raise
            chosen = next((part for part in parts if part.case == name), parts[0])
            logger.info("co-registration to %s", chosen.case)
            return chosen
        if not Path(str(name)).exists():
            names = ", ".join(item["case"] for item in self.cases[:5])
            raise CaseError(
                "--reference", f"{name} is no case and no file", f"name a CT, or one of the cases ({names} …)"
            )
        return read_prepared(ct_cases(str(name), mask_suffix)[0], self.bone_threshold)

    def prepare(self, item: Mapping[str, str]) -> list[PreparedCt]:
        """The steps before co-registration."""
        prepared = read_prepared(item, self.bone_threshold)
        if prepared.mask is None and not NO_MASK_STEPS & set(self.steps):
            prepared.label_image()  # raises with the advice
        has_mask = prepared.mask is not None
        if "clean" in self.steps and has_mask:
            prepared = clean(prepared, self.labels)
        if "crop" not in self.steps:
            return [prepared]
        parts = split_sides(prepared, self.right_labels, self.left_labels)
        if has_mask:
            parts = [crop(part, self.box_labels(part), self.padding_mm) for part in parts]
        if has_mask and "clean" in self.steps:  # the box may have cut a label in two
            parts = [part.with_labels(keep_largest_components(part.label_array())[0]) for part in parts]
        if not has_mask:
            parts = [part.note("crop", ["no label map: neither cleaned nor cropped"]) for part in parts]
        pairs = dict(zip(self.right_labels, self.left_labels, strict=True))
        return [mirror(part, pairs) if part.side == "right" else part for part in parts]

    def box_labels(self, prepared: PreparedCt) -> list[int]:
        """The labels to crop to: those of the prepared's side; where it has none of these, the chosen or all labels."""
        present = [label for label in present_labels(prepared.label_array()) if label in (self.labels or [label])]
        own = [label for label in present if label in {*self.right_labels, *self.left_labels}]
        return own or present

    def anatomy(self, prepared: PreparedCt) -> sitk.Image | None:
        """Binary image of what is to be aligned: sided anatomy, which lies on the left by now, or all labels."""
        return None if prepared.mask is None else select_labels(prepared.mask, self.left_labels)

    def align(self, prepared: PreparedCt, reference: PreparedCt) -> PreparedCt:
        """Co-registration of one prepared; the values stay on their voxels."""
        if (prepared.case, prepared.source) == (reference.case, reference.source):
            found = reference_itself(reference.ct, self.anatomy(reference))
        else:
            masks = self.anatomy(reference), self.anatomy(prepared)
            found = coregister(reference.ct, prepared.ct, *masks, self.limits)
        warnings = [f"not to be trusted: {reason}" for reason in found.reasons]
        return move(prepared, found.matrix, "coregister").note(
            "coregister", warnings, reference=reference.case, **found.report()
        )

    def finish(self, prepared: PreparedCt) -> PreparedCt:
        """Co-registration, centring and resampling, with one interpolation for all of it."""
        reference = self.reference
        if reference is not None:
            prepared = self.align(prepared, reference)
        shift = np.eye(4)
        if "resample" in self.steps:
            grid = covering_grid(prepared.ct if reference is None else reference.ct, self.spacing_mm)
            shift[:3, 3] = -image_center(grid)
            prepared = move(prepared, shift, "centre")
            prepared = to_grid(prepared, move_image(grid, shift), "clean" in self.steps)
        elif reference is not None:
            prepared = to_grid(prepared, reference.ct, "clean" in self.steps)
        if reference is None or reference.mask is None:
            return prepared
        return replace(prepared, comparison=resample(move_image(reference.mask, shift), prepared.ct, 0, labels=True))

    def __call__(self, item: Mapping[str, str]) -> list[PreparedCt]:
        return [self.finish(part) for part in self.prepare(item)]
