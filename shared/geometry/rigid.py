"""Rigid registration of volumes: Mattes mutual information, many starts, coarse to fine (SimpleITK).

Transforms are matrices (4, 4) in LPS mm that move the moving image onto the fixed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from ..io.itk_images import aligned_grid, image_center, index_matrix, resample
from .frames import transform_points
from .hounsfield import AIR_HU

RIM_MM = 40.0
MAX_POINTS = 8000  # that are compared on one level
SEED = 1  # of their choice
BINS = 50  # of the joint histogram (Mattes et al. 2003)


@dataclass(frozen=True)
class Start:
    """A guess from which the search starts.

    Attributes:
        name: where it comes from.
        matrix: (4, 4).
    """

    name: str
    matrix: np.ndarray


@dataclass(frozen=True)
class RigidResult:
    """Outcome of :func:`register_rigid`.

    Attributes:
        matrix: (4, 4), rigid, moving to fixed, LPS mm.
        mutual_information: of the fixed and the moved image in nats (Mattes), inside the fixed mask.
        start: name of the start that led there.
        start_mutual_information: of that start before the search, at the coarsest level.
    """

    matrix: np.ndarray
    mutual_information: float
    start: str
    start_mutual_information: float


def rigid_matrix(rotation: np.ndarray, center_from: np.ndarray, center_to: np.ndarray) -> np.ndarray:
    """(4, 4) that rotates about ``center_from`` and takes it to ``center_to``."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = center_to - rotation @ center_from
    return matrix


def moments(weights: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass (3,) and principal axes (3, 3) of an image of non-negative weights, in LPS mm.

    Returns:
        the centre, and a rotation whose columns are the axes, the longest first.
    """
    array = sitk.GetArrayViewFromImage(weights)
    index = np.argwhere(array > 0)
    weight = array[tuple(index.T)].astype(float)
    points = transform_points(index_matrix(weights), index[:, ::-1])
    center = np.average(points, axis=0, weights=weight)
    _, axes = np.linalg.eigh(np.cov(points.T, aweights=weight))
    axes = axes[:, ::-1]
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return center, axes


def tilts(angle_deg: float) -> list[np.ndarray]:
    """The identity and rotations by plus and minus an angle about each axis of the patient."""
    if angle_deg == 0:
        return [np.eye(3)]
    vectors = [sign * np.radians(angle_deg) * np.eye(3)[axis] for axis in range(3) for sign in (1, -1)]
    return [np.eye(3), *(Rotation.from_rotvec(vector).as_matrix() for vector in vectors)]


def image_starts(fixed: sitk.Image, moving: sitk.Image, angle_deg: float, floor: float = AIR_HU) -> list[Start]:
    """Starts from the geometric centres and the centres of mass of two images.

    Args:
        fixed, moving: intensities.
        angle_deg: each start is also tried tilted by this angle about each axis of the patient; 0 for none.
        floor: value that weighs nothing.
    """
    above = [sitk.Clamp(image - floor, sitk.sitkFloat32, 0.0) for image in (fixed, moving)]
    pairs = {"centres": (image_center(fixed), image_center(moving))}
    if all(sitk.GetArrayViewFromImage(image).any() for image in above):
        pairs["moments"] = (moments(above[0])[0], moments(above[1])[0])
    return [
        Start(name, rigid_matrix(turn, center_moving, center_fixed))
        for name, (center_fixed, center_moving) in pairs.items()
        for turn in tilts(angle_deg)
    ]


def mask_starts(
    fixed_mask: sitk.Image, moving_mask: sitk.Image, angle_deg: float, largest_turn_deg: float = 100.0
) -> list[Start]:
    """Starts that bring the masks' centres together, as they lie and with their principal axes aligned.

    An axis has no sense, so that each of the four ways to align them is a start unless it turns the patient by more
    than ``largest_turn_deg``. A long bone may be cut at different lengths: each way is also tried with either of its
    ends brought together.
    """
    (center_fixed, axes_fixed), (center_moving, axes_moving) = moments(fixed_mask), moments(moving_mask)
    starts = [Start("mask centres", rigid_matrix(turn, center_moving, center_fixed)) for turn in tilts(angle_deg)]
    ends = [
        np.percentile(mask_points(mask) @ axes[:, 0], (1, 99))
        for mask, axes in ((fixed_mask, axes_fixed), (moving_mask, axes_moving))
    ]
    for signs in product((1.0, -1.0), repeat=2):
        flips = np.diag([*signs, signs[0] * signs[1]])
        rotation = axes_fixed @ flips @ axes_moving.T
        if Rotation.from_matrix(rotation).magnitude() > np.radians(largest_turn_deg):
            continue
        centered = rigid_matrix(rotation, center_moving, center_fixed)
        along = axes_fixed[:, 0]
        moved_ends = np.sort(signs[0] * (ends[1] - center_moving @ axes_moving[:, 0])) + center_fixed @ along
        shifts = {
            "axes": 0.0,
            "axes, first ends": ends[0][0] - moved_ends[0],
            "axes, last ends": ends[0][1] - moved_ends[1],
        }
        for name, shift in shifts.items():
            matrix = centered.copy()
            matrix[:3, 3] += shift * along
            starts.append(Start(f"mask {name}", matrix))
    return starts


def mask_points(mask: sitk.Image) -> np.ndarray:
    """Centres (N, 3) of the voxels of a binary mask in LPS mm."""
    return transform_points(index_matrix(mask), np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[:, ::-1])


def to_euler(matrix: np.ndarray, center: Sequence[float]) -> sitk.Euler3DTransform:
    """ITK transform from fixed to moving points of a matrix from moving to fixed.

    Args:
        matrix: (4, 4), rigid.
        center: of the rotation, (3,), in fixed space.
    """
    inverse = np.linalg.inv(matrix)
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(value) for value in center])
    transform.SetMatrix(inverse[:3, :3].ravel().tolist(), 1e-6)
    pivot = np.asarray(center, dtype=float)
    transform.SetTranslation((transform_points(inverse, pivot) - pivot).tolist())
    return transform


def from_euler(transform: sitk.Transform) -> np.ndarray:
    """Matrix (4, 4) from moving to fixed of an ITK transform from fixed to moving points."""
    ends = np.vstack([np.zeros(3), np.eye(3)])
    images = np.array([transform.TransformPoint(point.tolist()) for point in ends])
    inverse = np.eye(4)
    inverse[:3, :3] = (images[1:] - images[0]).T
    inverse[:3, 3] = images[0]
    return np.linalg.inv(inverse)


@dataclass
class Level:
    """One resolution of a registration: images of cubic voxels and the region in which they are compared."""

    fixed: sitk.Image
    moving: sitk.Image
    region: sitk.Image | None
    center: tuple[float, ...]

    @classmethod
    def of(
        cls,
        fixed: sitk.Image,
        moving: sitk.Image,
        region: sitk.Image | None,
        spacing_mm: float,
        fill: float,
        center: Sequence[float] | np.ndarray,
    ) -> Level:
        """Images resampled; the moving one with a rim of ``fill``.

        Mutual information counts the points that fall into the moving image. Without the rim the search could escape
        into a corner of which little is compared.
        """
        small = [resample(image, aligned_grid(image, spacing_mm), fill) for image in (fixed, moving)]
        rim = [int(np.ceil(RIM_MM / spacing_mm))] * 3
        grid = None if region is None else resample(region, small[0], 0, labels=True)
        return cls(small[0], sitk.ConstantPad(small[1], rim, rim, fill), grid, tuple(center))

    def method(self) -> sitk.ImageRegistrationMethod:
        """Metric and optimiser, with the same points every time and in one thread, so that results are repeatable.

        Powell's method needs no gradient, whose jumps on few points stop descent far from the optimum.
        """
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.MetricUseMovingImageGradientFilterOff()
        method.MetricUseFixedImageGradientFilterOff()
        points = self.fixed.GetNumberOfPixels()
        if self.region is not None:
            points = int(sitk.GetArrayViewFromImage(self.region).sum())
            method.SetMetricFixedMask(self.region)
        if points > MAX_POINTS:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(MAX_POINTS / points, SEED)
        else:
            method.SetMetricSamplingStrategy(method.NONE)
        method.SetInterpolator(sitk.sitkLinear)
        step = self.fixed.GetSpacing()[0]
        method.SetOptimizerAsPowell(
            numberOfIterations=20,
            maximumLineIterations=30,
            stepLength=step / 2,
            stepTolerance=0.01,
            valueTolerance=1e-4,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetNumberOfThreads(1)
        return method

    def mutual_information(self, matrix: np.ndarray) -> float:
        """Of the fixed and the moved image; 0 where they do not meet."""
        method = self.method()
        method.SetInitialTransform(to_euler(matrix, self.center))
        try:
            return -method.MetricEvaluate(self.fixed, self.moving)
        except RuntimeError:
            return 0.0

    def optimise(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """Improved matrix and its mutual information."""
        method = self.method()
        transform = to_euler(matrix, self.center)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError:
            return matrix, 0.0
        return from_euler(transform), -method.GetMetricValue()


def register_rigid(
    fixed: sitk.Image,
    moving: sitk.Image,
    starts: Sequence[Start],
    region: sitk.Image | None = None,
    fill: float = AIR_HU,
    spacings_mm: Sequence[float] = (8.0, 4.0, 2.0),
    keep: Sequence[int] = (12, 4, 2),
) -> RigidResult:
    """Rigid transform that brings the moving image to the fixed one.

    All starts are compared on the coarsest level, the best are followed from level to level.

    Args:
        fixed: intensities.
        moving: intensities, of any modality.
        starts: first guesses.
        region: binary image, where the fixed image is compared; everywhere where None.
        fill: value outside of the moving image.
        spacings_mm: voxel size of each level.
        keep: how many starts are followed on each level.
    """
    center = image_center(fixed) if region is None else moments(region)[0]
    levels = [Level.of(fixed, moving, region, spacing, fill, center) for spacing in spacings_mm]
    scored = sorted(
        ((levels[0].mutual_information(start.matrix), index) for index, start in enumerate(starts)), reverse=True
    )
    first = {index: value for value, index in scored}
    found = [(value, index, starts[index].matrix) for value, index in scored]
    for level, count in zip(levels, keep, strict=True):
        results = [(*level.optimise(matrix), index) for _, index, matrix in found[:count]]
        found = sorted(((value, index, matrix) for matrix, value, index in results), key=lambda item: -item[0])
    value, index, matrix = found[0]
    return RigidResult(matrix, value, starts[index].name, first[index])
