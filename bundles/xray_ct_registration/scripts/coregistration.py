"""Bring a CT to a reference CT, and say how far the result can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .shared.geometry.frames import transform_points
from .shared.geometry.hounsfield import AIR_HU
from .shared.geometry.rigid import RigidResult, Start, image_starts, mask_starts, register_rigid
from .shared.io.itk_images import aligned_grid, index_matrix, move_image, resample

QUALITY_SPACING_MM = 2.0
REGION_MM = 8.0  # soft tissue around the labels that is compared as well
START_TILT_DEG = 20.0
DENSEST_HU = 2000.0  # metal is cut off here, or it would have most of the bins of the histogram
LIMITS: Mapping[str, float] = {
    "min_ncc": 0.7,
    "min_dice": 0.8,
    "max_surface_p95_mm": 5.0,
    "max_uncovered_mm": 10.0,
    "min_overlap": 0.6,
}


@dataclass(frozen=True)
class Quality:
    """Agreement of the reference and a CT that was brought to it, where both have voxels.

    Attributes:
        ncc: correlation of their HU, around the labels where both have some.
        overlap: fraction of the compared region of the reference that the CT covers.
        dice: of the labelled anatomy; None without labels.
        surface_p95_mm: 95th percentile of the distances between the surfaces of the anatomy, both ways; None without
            labels or where they do not meet.
        uncovered_mm: how far the reference's labelled anatomy reaches beyond the CT; nothing confirms that part.
    """

    ncc: float
    overlap: float
    dice: float | None = None
    surface_p95_mm: float | None = None
    uncovered_mm: float | None = None

    def reasons(self, limits: Mapping[str, float]) -> list[str]:
        """Why the registration is not to be trusted; empty where it is."""
        found = []
        if self.ncc < limits["min_ncc"]:
            found.append(f"correlation {self.ncc:.2f} under {limits['min_ncc']:g}")
        if self.overlap < limits["min_overlap"]:
            found.append(f"only {self.overlap:.0%} of the reference is inside the CT")
        if self.dice is not None and self.dice < limits["min_dice"]:
            found.append(f"Dice of the labels {self.dice:.2f} under {limits['min_dice']:g}")
        if self.surface_p95_mm is not None and self.surface_p95_mm > limits["max_surface_p95_mm"]:
            found.append(f"surfaces up to {self.surface_p95_mm:.1f} mm apart (95th percentile)")
        if self.uncovered_mm is not None and self.uncovered_mm > limits["max_uncovered_mm"]:
            found.append(f"the anatomy of the reference reaches {self.uncovered_mm:.0f} mm beyond the CT")
        return found


@dataclass(frozen=True)
class Coregistration:
    """A co-registration with its judgement.

    Attributes:
        matrix: (4, 4) in LPS mm, from the CT to the reference.
        result: of the search; None for the reference itself.
        quality: figures.
        reasons: why it counts as failed; empty where it does not.
    """

    matrix: np.ndarray
    quality: Quality
    result: RigidResult | None = None
    reasons: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Plain values for JSON."""
        search = {} if self.result is None else {
            "start": self.result.start,
            "mutual_information": round(self.result.mutual_information, 4),
            "start_mutual_information": round(self.result.start_mutual_information, 4),
        }  # fmt: skip
        quality = {key: None if value is None else round(value, 4) for key, value in asdict(self.quality).items()}
        return {"failed": bool(self.reasons), "reasons": self.reasons, **search, **quality}


def select_labels(mask: sitk.Image, labels: Sequence[int] = ()) -> sitk.Image:
    """Binary image of some labels of a map; of all of them where none of these occurs."""
    array = sitk.GetArrayViewFromImage(mask)
    chosen = np.isin(array, list(labels))
    image = sitk.GetImageFromArray((chosen if chosen.any() else array > 0).astype(np.uint8))
    image.CopyInformation(mask)
    return image


def grow(binary: sitk.Image, distance_mm: float) -> sitk.Image:
    """Binary image of everything within a distance of the region."""
    distance = sitk.SignedMaurerDistanceMap(binary, squaredDistance=False, useImageSpacing=True)
    return sitk.Cast(distance <= distance_mm, sitk.sitkUInt8)


def on_grid(image: sitk.Image, grid: sitk.Image, matrix: np.ndarray, labels: bool) -> np.ndarray:
    """Array of an image that is moved and resampled."""
    fill = 0.0 if labels else AIR_HU
    return sitk.GetArrayFromImage(resample(move_image(image, matrix), grid, fill, labels))


def inside_image(image: sitk.Image, grid: sitk.Image, matrix: np.ndarray) -> np.ndarray:
    """Voxels (Z, Y, X) of a grid whose centres lie within an image that is moved by a matrix."""
    axes = np.meshgrid(*(np.arange(n) for n in grid.GetSize()), indexing="ij")
    to_index = np.linalg.inv(matrix @ index_matrix(image)) @ index_matrix(grid)
    index = transform_points(to_index, np.stack(axes, axis=-1))
    return np.all((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5), axis=-1).T


def surface_p95(first: np.ndarray, second: np.ndarray, compared: np.ndarray, spacing_mm: float) -> float | None:
    """95th percentile in mm of the distances between the surfaces of two regions, both ways.

    Args:
        first, second: (Z, Y, X) bool.
        compared: where surface voxels count.
        spacing_mm: of the voxels.

    Returns:
        None where one of the regions has no surface there.
    """
    distances = []
    surfaces = [region & ~ndimage.binary_erosion(region) for region in (first, second)]
    for here, there in (surfaces, surfaces[::-1]):
        if not (here & compared).any():
            return None
        distances.append(ndimage.distance_transform_edt(~there, sampling=spacing_mm)[here & compared])
    return float(np.percentile(np.concatenate(distances), 95))


def measure_quality(
    reference: sitk.Image,
    moving: sitk.Image,
    matrix: np.ndarray,
    reference_mask: sitk.Image | None = None,
    moving_mask: sitk.Image | None = None,
) -> Quality:
    """Figures of how well a CT fits the reference after it is moved by a matrix; arguments as in :func:`coregister`."""
    grid = aligned_grid(reference, QUALITY_SPACING_MM)
    stay = np.eye(4)
    inside = inside_image(moving, grid, matrix)
    masked = reference_mask is not None and moving_mask is not None
    region = np.ones_like(inside)
    if reference_mask is not None and masked:
        region = on_grid(grow(reference_mask, REGION_MM), grid, stay, True) > 0
    both = region & inside
    images = on_grid(reference, grid, stay, False), on_grid(moving, grid, matrix, False)
    values = [np.minimum(image, DENSEST_HU)[both] for image in images]
    varied = both.sum() > 1 and min(np.ptp(part) for part in values) > 0
    ncc = float(np.corrcoef(*values)[0, 1]) if varied else 0.0
    overlap = float(both.sum() / max(1, region.sum()))
    if reference_mask is None or moving_mask is None:
        return Quality(ncc, overlap)
    first = on_grid(reference_mask, grid, stay, True) > 0
    second = on_grid(moving_mask, grid, matrix, True) > 0
    dice = float(2 * (first & second & inside).sum() / max(1, (first & inside).sum() + (second & inside).sum()))
    # A cut through a bone is no surface: stay away from the edges of both images.
    compared = ndimage.binary_erosion(inside, iterations=2)
    p95 = surface_p95(first & inside, second & inside, compared, QUALITY_SPACING_MM)
    uncovered = 0.0
    if (first & ~inside).any():
        uncovered = float(ndimage.distance_transform_edt(~inside, sampling=QUALITY_SPACING_MM)[first & ~inside].max())
    return Quality(ncc, overlap, dice, p95, uncovered)


def coregister(
    reference: sitk.Image,
    moving: sitk.Image,
    reference_mask: sitk.Image | None = None,
    moving_mask: sitk.Image | None = None,
    limits: Mapping[str, float] = LIMITS,
) -> Coregistration:
    """Rigid transform of a CT onto a reference.

    With the masks of both, the region around them is compared alone, so that neighbouring bones in another pose and
    the table do not pull; and their principal axes give starts that find the way from any flexion of a joint.

    Args:
        reference, moving: HU.
        reference_mask, moving_mask: binary images on the grids of the CTs of the anatomy that is to be aligned; any of
            them may be missing.
        limits: beyond which it counts as failed, with the keys of ``LIMITS``.
    """
    fixed, turned = (sitk.Clamp(image, sitk.sitkFloat32, AIR_HU, DENSEST_HU) for image in (reference, moving))
    starts: Sequence[Start] = image_starts(fixed, turned, START_TILT_DEG)
    region = None
    if reference_mask is not None and moving_mask is not None:
        starts = [*starts, *mask_starts(reference_mask, moving_mask, START_TILT_DEG)]
        region = grow(reference_mask, REGION_MM)
    result = register_rigid(fixed, turned, starts, region)
    quality = measure_quality(reference, moving, result.matrix, reference_mask, moving_mask)
    return Coregistration(result.matrix, quality, result, quality.reasons(limits))


def reference_itself(reference: sitk.Image, mask: sitk.Image | None) -> Coregistration:
    """The co-registration of the reference with itself: nothing moves."""
    return Coregistration(np.eye(4), measure_quality(reference, reference, np.eye(4), mask, mask))
