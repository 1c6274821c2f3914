"""Rigid registration of an MR to its CT, how good it is, and when the MR is better left out.

Published pairs share no frame: the two scanners put their origins anywhere, and the head lies differently.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .shared.geometry.frames import transform_points
from .shared.geometry.hounsfield import AIR_HU
from .shared.geometry.rigid import Level, Start, mask_points, register_rigid, rigid_matrix
from .shared.io.itk_images import aligned_grid, image_center, move_image, resample

BODY_HU = -400.0
MASK_MM = 4.0
COMPARE_MM = 3.0
AROUND_MM = 10.0  # of air around the head that is compared as well
HEIGHTS_MM = (70.0, 110.0, 150.0)  # of the middle of an MR below the crown, from a scan of the head to one of the neck
BINS = 32
LEAST_INFORMATION = 0.08
LEAST_INSIDE = 0.9  # of the MR's head that has to lie inside the patient of the CT
LEAST_SHARE = 0.5  # of the MR's head that has to lie inside the image of the CT
# Scanners are calibrated to 1 or 2 %. Of ten procedural patients each needed less than 1.6 %, the MR of another one of
# them 2.4 to 15.5 %; averages of many people (4.4 % apart) are a pair that is worth using all the same.
DOUBTFUL_STRETCH, LARGEST_STRETCH = 0.02, 0.055
STRETCH_MM = 4.0  # voxels of its search


@dataclass(frozen=True)
class Alignment:
    """An MR brought to its CT.

    Attributes:
        matrix: (4, 4), rigid, LPS mm of the MR to LPS mm of the CT.
        information: normalised mutual information, 0 (unrelated) to 1 (one determines the other).
        inside: share of the MR's head that lies inside the patient of the CT.
        stretch: by how much, as a fraction, the MR would fit better if it were stretched or compressed.
        refusal: why the MR is not used; None where it is.
        doubt: what the user should check about an MR that is used.
    """

    matrix: np.ndarray
    information: float
    inside: float
    stretch: float
    refusal: str | None = None
    doubt: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the MR is used."""
        return self.refusal is None


def largest_body(mask: np.ndarray) -> np.ndarray:
    """Largest component of a mask (Z, Y, X), opened, its holes filled slice by slice along every axis."""
    parts, count = ndimage.label(ndimage.binary_opening(mask))
    if count == 0:
        return np.zeros_like(mask)
    body = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    for axis in range(3):
        filled = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, axis, 0)]
        body = np.moveaxis(np.stack(filled), 0, axis)
    return body


def body_mask(image: sitk.Image, level: float) -> sitk.Image:
    """The patient in an image: what is brighter than a level, uint8 on a grid of MASK_MM."""
    small = resample(image, aligned_grid(image, MASK_MM), float(sitk.GetArrayViewFromImage(image).min()))
    mask = sitk.GetImageFromArray(largest_body(sitk.GetArrayViewFromImage(small) > level).astype(np.uint8))
    mask.CopyInformation(small)
    return mask


def mr_level(mr: sitk.Image) -> float:
    """Brightness between air and tissue: half of Otsu's threshold, which lies between dark and bright tissue."""
    array = sitk.GetArrayViewFromImage(mr)
    low, high = (float(v) for v in np.percentile(array, (1, 99.5)))
    values = sitk.GetImageFromArray(np.clip(array, low, high).astype(np.float32))
    threshold = sitk.OtsuThresholdImageFilter()
    threshold.Execute(values)
    return low + 0.5 * (threshold.GetThreshold() - low)


def mr_starts(mr: sitk.Image, mr_body: sitk.Image, ct: sitk.Image, ct_body: sitk.Image) -> list[Start]:
    """Guesses, matrices from CT to MR: frames as they are, centres together, the MR at some height."""
    center = mask_points(mr_body).mean(axis=0)
    points = mask_points(ct_body)
    crown = points[:, 2].max()
    starts = [
        Start("frames", np.eye(4)),
        Start("centres", rigid_matrix(np.eye(3), image_center(ct), image_center(mr))),
        Start("bodies", rigid_matrix(np.eye(3), points.mean(axis=0), center)),
    ]
    for height in HEIGHTS_MM:
        near = points[np.abs(points[:, 2] - crown + height) < 60]
        if len(near):
            place = np.array([*near[:, :2].mean(axis=0), crown - height])
            starts.append(Start(f"{height:.0f} mm below the crown", rigid_matrix(np.eye(3), place, center)))
    return starts


def normalised_information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two samples (N,) over the mean of their entropies; 0 where one of them is constant.

    Values are put into bins of equal count, so that the figure does not depend on brightness and contrast.
    """
    codes = []
    for values in (first, second):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        codes.append(np.searchsorted(edges, values))
    joint = np.zeros((BINS, BINS))
    np.add.at(joint, (codes[0], codes[1]), 1.0)
    joint /= joint.sum()

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    sides = entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))
    return 0.0 if sides == 0 else max(0.0, 2 * (sides - entropy(joint.ravel())) / sides)


def best_stretch(ct: sitk.Image, mr: sitk.Image, region: sitk.Image, matrix: np.ndarray) -> float:
    """How far the best affine transform near a rigid one is from keeping lengths.

    The head of one patient is equally large in both images. That of another fits better after it is stretched.

    Args:
        ct: HU.
        mr: in its own frame.
        region: of the MR, where the images are compared.
        matrix: (4, 4), rigid, LPS mm of the CT to LPS mm of the MR.

    Returns:
        largest stretch or compression along any direction, 0.1 for a tenth.
    """
    center = mask_points(region).mean(axis=0)
    level = Level.of(mr, ct, region, STRETCH_MM, AIR_HU, center)
    method = level.method()
    inverse = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(3)
    transform.SetCenter(center.tolist())
    transform.SetMatrix(inverse[:3, :3].ravel().tolist())
    transform.SetTranslation((transform_points(inverse, center) - center).tolist())
    method.SetInitialTransform(transform, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=2.0, minStep=0.01, numberOfIterations=80)
    method.SetOptimizerScalesFromPhysicalShift()
    try:
        method.Execute(level.fixed, level.moving)
    except RuntimeError:
        return float("inf")
    scales = np.linalg.svd(np.reshape(transform.GetMatrix(), (3, 3)), compute_uv=False)
    return float(np.abs(np.log(scales)).max())


def judge(ct: sitk.Image, mr: sitk.Image, matrix: np.ndarray) -> Alignment:
    """Compare an MR that was moved by a matrix (4, 4) with the CT, on a grid of COMPARE_MM around the MR's head."""
    moved = move_image(mr, matrix)
    grid = aligned_grid(moved, COMPARE_MM)
    mr_body = body_mask(mr, mr_level(mr))
    head = resample(move_image(mr_body, matrix), grid, 0, labels=True)
    body = resample(body_mask(ct, BODY_HU), grid, 0, labels=True)
    covered = resample(ones_like(ct), grid, 0, labels=True)
    a, b, seen = (sitk.GetArrayFromImage(image) > 0 for image in (head, body, covered))
    share = float((a & seen).sum() / max(1, a.sum()))
    if share < LEAST_SHARE:
        return Alignment(matrix, 0.0, 0.0, np.inf, f"only {share:.0%} of it would lie inside the CT")
    where = ndimage.binary_dilation(a, iterations=round(AROUND_MM / COMPARE_MM)) & seen
    pair = (resample(ct, grid, AIR_HU), resample(moved, grid, 0.0))
    values = [sitk.GetArrayFromImage(image)[where] for image in pair]
    information = normalised_information(values[0], values[1])
    inside = float((a & b).sum() / max(1, (a & seen).sum()))
    stretch = best_stretch(ct, mr, around(mr_body), np.linalg.inv(matrix))
    refusal = doubt = None
    if information < LEAST_INFORMATION or inside < LEAST_INSIDE:
        refusal = f"it does not fit (information {information:.2f}, {inside:.0%} of the head inside that of the CT)"
    elif stretch > LARGEST_STRETCH:
        refusal = f"it would fit better stretched by {stretch:.0%}: it seems to show another head"
    elif stretch > DOUBTFUL_STRETCH:
        doubt = f"it would fit better stretched by {stretch:.0%}: check that it shows this patient"
    return Alignment(matrix, information, inside, stretch, refusal, doubt)


def around(body: sitk.Image) -> sitk.Image:
    """A mask of MASK_MM with the air around it."""
    return sitk.BinaryDilate(body, [round(AROUND_MM / MASK_MM)] * 3)


def ones_like(image: sitk.Image) -> sitk.Image:
    """uint8 image of ones on the grid of another."""
    ones = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(image)
    return ones


def align_mr(ct: sitk.Image, mr: sitk.Image) -> Alignment:
    """Rigid transform of an MR to its CT by mutual information (Mattes), judged.

    Args:
        ct: HU.
        mr: of any contrast.

    Returns:
        an alignment that says why where the MR should not be used.
    """
    array = sitk.GetArrayViewFromImage(mr)
    if array.min() == array.max():
        return Alignment(np.eye(4), 0.0, 0.0, np.inf, "it is empty")
    mr_body, ct_body = body_mask(mr, mr_level(mr)), body_mask(ct, BODY_HU)
    for name, mask in (("it", mr_body), ("the CT", ct_body)):
        if not sitk.GetArrayViewFromImage(mask).any():
            return Alignment(np.eye(4), 0.0, 0.0, np.inf, f"{name} shows no patient")
    found = register_rigid(
        fixed=mr,
        moving=ct,
        starts=mr_starts(mr, mr_body, ct, ct_body),
        region=around(mr_body),
        spacings_mm=(8.0, 4.0, 2.5),
        keep=(3, 1, 1),
    )
    return judge(ct, mr, np.linalg.inv(found.matrix))


def target_error(found: np.ndarray, true: np.ndarray, points: np.ndarray) -> float:
    """Mean distance in mm of points (N, 3) moved by one matrix (4, 4) and by another."""
    return float(np.linalg.norm(transform_points(found, points) - transform_points(true, points), axis=-1).mean())
