"""A procedural head and neck: CT, exact map of the organs, T1 of the same patient lying differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..shared.phantoms.sdf import Array
from .canvas import HeadCanvas, Variation
from .names import NUMBERS
from .scanner import expose_ct, expose_mr, paint_couch
from .skull import (
    paint_brainstem,
    paint_face,
    paint_mandible,
    paint_sella,
    paint_skull_and_brain,
    paint_spine,
    paint_teeth,
)
from .soft import paint_glands, paint_mouth, paint_muscles, paint_orbits, paint_outline, paint_tumour
from .throat import paint_throat, paint_vessels
from .tissues import random_brightness

CT_LOW, CT_HIGH = np.array([-122.0, -128.0, -192.0]), np.array([122.0, 130.0, 146.0])
MR_LOW, MR_HIGH = np.array([-92.0, -100.0, -128.0]), np.array([92.0, 118.0, 62.0])


@dataclass
class HeadNeckPhantom:
    """CT and T1 of a patient with everything known about them.

    Attributes:
        ct: int16 (X, Y, Z), HU.
        labels: uint8 (X, Y, Z), numbers of HaN-Seg; only organs of ``contoured``.
        affine: float64 (4, 4), voxel index of the CT to its RAS mm.
        mr: int16 (X', Y', Z'), T1; None for a patient without.
        mr_affine: float64 (4, 4), voxel index of the T1 to its own RAS mm.
        mr_to_ct: float64 (4, 4), rigid, RAS mm of the T1 to RAS mm of the CT.
        contoured: numbers of the organs that the reference shows; the others are there but not drawn.
        meta: what was drawn at random.
    """

    ct: Array
    labels: Array
    affine: Array
    mr: Array | None
    mr_affine: Array
    mr_to_ct: Array
    contoured: tuple[int, ...]
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass
class Patient:
    """Pose, size and shape of a patient: the way from RAS mm of the CT to the frame of the head."""

    pose: Array  # (4, 4), RAS mm of the CT to mm of a typical head without deformation
    bend: float  # shift of the chin forwards, mm per (100 mm)^2 below the skull
    skew: float  # relative difference of the sides
    seed: int
    deform_mm: float

    def places(self, affine: Array, shape: Sequence[int]) -> Array:
        """(3, X, Y, Z) float32: the place of every voxel of a grid (affine to RAS mm of the CT)."""
        matrix = self.pose @ affine
        index = np.ogrid[tuple(slice(0, size) for size in shape)]
        points = np.empty((3, *shape), np.float32)
        for axis in range(3):
            parts = [matrix[axis, k] * index[k].astype(np.float32) for k in range(3)]
            points[axis] = parts[0] + parts[1] + parts[2] + np.float32(matrix[axis, 3])
        points += self.deformation(points)
        points[1] += self.bend * (np.minimum(points[2] + 30, 0) / 100) ** 2
        points[0] *= 1 + self.skew * np.tanh(points[0] / 30)
        return points

    def deformation(self, points: Array) -> Array:
        """Smooth displacement (3, X, Y, Z) in mm that is a function of the place alone: a sum of waves."""
        rng = np.random.default_rng([self.seed, 7])
        moved = np.zeros_like(points)
        for _ in range(4):
            wave = rng.normal(size=3) / 55.0
            phase = rng.uniform(0, 2 * np.pi)
            level = np.sin(np.tensordot(wave.astype(np.float32), points, axes=1) + np.float32(phase))
            moved += (rng.normal(size=3) * self.deform_mm).astype(np.float32).reshape(3, 1, 1, 1) * level
        return moved


def paint_patient(canvas: HeadCanvas, vary: Variation, metal: bool, tumour: bool) -> None:
    """Put everything onto a canvas, from the skin inwards."""
    paint_outline(canvas, vary)
    paint_muscles(canvas, vary)
    paint_skull_and_brain(canvas, vary)
    paint_brainstem(canvas, vary)
    paint_sella(canvas, vary)
    paint_face(canvas, vary)
    paint_orbits(canvas, vary)
    paint_glands(canvas, vary)
    paint_mouth(canvas, vary)
    paint_mandible(canvas, vary)
    paint_teeth(canvas, vary, metal)
    paint_spine(canvas, vary)
    paint_throat(canvas, vary)
    paint_vessels(canvas, vary)
    if tumour:
        paint_tumour(canvas, vary)


def grid(low: Array, high: Array, spacing: Array) -> tuple[Array, tuple[int, int, int]]:
    """Affine and shape of a grid between two corners in mm."""
    nx, ny, nz = (int(n) for n in np.maximum(np.round((high - low) / spacing), 8))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = low + spacing / 2
    return affine, (nx, ny, nz)


def rigid(angle_deg: float, shift_mm: float, center: Array, rng: np.random.Generator) -> Array:
    """A random rigid matrix (4, 4): a turn of at most this angle about a centre, then a shift of at most this size."""
    turn = rng.normal(size=3)
    way = rng.normal(size=3)
    matrix = np.eye(4)
    angle = np.radians(angle_deg) * rng.uniform(0.3, 1)
    matrix[:3, :3] = Rotation.from_rotvec(angle * turn / np.linalg.norm(turn)).as_matrix()
    matrix[:3, 3] = center - matrix[:3, :3] @ center + shift_mm * rng.uniform(0.3, 1) * way / np.linalg.norm(way)
    return matrix


def make_head_neck(
    seed: int,
    spacing_mm: Sequence[float] = (2.0, 2.0, 2.0),
    mr_spacing_mm: Sequence[float] = (1.5, 1.5, 3.0),
    with_mr: bool = True,
    missing: int = 0,
    angle_deg: float = 8.0,
    shift_mm: float = 20.0,
    variation: float = 1.0,
    low_mm: Sequence[float] = tuple(CT_LOW),
    high_mm: Sequence[float] = tuple(CT_HIGH),
) -> HeadNeckPhantom:
    """Make a head and neck.

    Args:
        seed: everything random follows from it.
        spacing_mm: voxel size of the CT along right-left, front-back, head-foot.
        mr_spacing_mm: the same of the T1, along its own axes.
        with_mr: whether there is a T1.
        missing: number of organs that are not contoured.
        angle_deg, shift_mm: how far the T1 is turned and shifted against the CT at most.
        variation: how much patients differ, 0 to 1.
        low_mm, high_mm: corners (3,) of the CT in RAS mm around the point between the ears.
    """
    rng = np.random.default_rng(seed)
    pose_rng, look_rng, ct_rng, mr_rng, choice = rng.spawn(5)
    vary = Variation(seed, variation)
    size = np.exp(0.045 * variation * np.clip(pose_rng.normal(), -2, 2) + 0.02 * variation * pose_rng.normal(size=3))
    pose = np.eye(4)
    pose[:3, :3] = (
        np.diag(1 / size) @ Rotation.from_euler("xyz", variation * pose_rng.normal(0, 2.5, 3), True).as_matrix()
    )
    patient = Patient(
        pose, variation * pose_rng.normal(0, 5), variation * pose_rng.normal(0, 0.015), seed, variation * 0.8
    )
    look = random_brightness(look_rng, contrast_medium=bool(choice.uniform() < 0.6))
    metal, tumour = bool(choice.uniform() < 0.4), bool(choice.uniform() < 0.6)

    spacing = np.asarray(spacing_mm, float)
    affine, shape = grid(np.asarray(low_mm, float), np.asarray(high_mm, float), spacing)
    ct = HeadCanvas(patient.places(affine, shape), voxel(spacing), {k: v[0] for k, v in look.items()}, NUMBERS)
    paint_patient(ct, vary, metal, tumour)
    back = float(affine[1, 3]) + 14.0
    paint_couch(ct.values, affine[1, 3] + spacing[1] * np.arange(shape[1]), back)
    drawn = [int(n) for n in np.unique(ct.labels) if n]
    left_out = {int(n) for n in choice.permutation(drawn)[:missing]}
    labels = np.where(np.isin(ct.labels, list(left_out)), np.uint8(0), ct.labels)

    origin = choice.uniform(-150, 150, 3)  # of the CT scanner's coordinates
    to_ct_world = np.eye(4)
    to_ct_world[:3, 3] = origin
    moved = rigid(angle_deg, shift_mm, origin + (MR_LOW + MR_HIGH) / 2, mr_rng)
    mr_spacing = np.asarray(mr_spacing_mm, float)
    mr_grid, mr_shape = grid(MR_LOW, MR_HIGH, mr_spacing)
    # the T1 lies along the axes of its own scanner, in which the patient is turned
    mr_affine = to_ct_world @ mr_grid
    mr = None
    if with_mr:
        places = patient.places(np.linalg.inv(to_ct_world) @ moved @ mr_affine, mr_shape)
        canvas = HeadCanvas(places, voxel(mr_spacing), {k: v[1] for k, v in look.items()}, NUMBERS)
        paint_patient(canvas, vary, metal, tumour)
        mr = expose_mr(canvas.values, mr_spacing, mr_rng)
    meta = {"seed": seed, "metal": metal, "tumour": tumour, "size": size.tolist(), "missing": sorted(left_out)}
    return HeadNeckPhantom(
        expose_ct(ct.values, spacing, ct_rng),
        labels,
        to_ct_world @ affine,
        mr,
        mr_affine,
        moved,
        tuple(n for n in drawn if n not in left_out),
        meta,
    )


def voxel(spacing: Array) -> float:
    """Edge of a cube as large as a voxel, mm."""
    return float(np.prod(spacing) ** (1 / 3))
