"""A procedural CT of a torso with exact label map and body centres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from ...geometry.frames import lps_to_ras, ras_to_lps, transform_points
from ...spine.labels import SPINE_LABELS, VERTEBRA_LABELS
from .canvas import TISSUES, Bone, Voxels
from .deep import paint_back_muscles, paint_discs_and_canal
from .implants import paint_hip_prosthesis, paint_screws
from .organs import paint_abdomen, paint_chest_organs
from .profile import Profile, height_of, random_profile
from .scanner import cut_circle, expose, orientation_codes, paint_table, random_scanner, reorient
from .skeleton import paint_skeleton, random_vertebrae
from .skull import paint_skull
from .soft import paint_soft_tissue, random_build
from .spine_curve import Spine, random_spine

# chance of each anomaly when they are drawn at random
ANOMALIES = {
    "L6": 0.14,
    "T13": 0.08,
    "no_T12": 0.07,
    "wedge": 0.15,
    "scoliosis": 0.2,
    "screws": 0.1,
    "hip_implant": 0.05,
}
# level at the top and at the bottom (continuous, 8 = T1, 20 = L1, 26 = S1, then 30 mm per unit)
REGIONS: dict[str, tuple[float, float]] = {
    "full": (0.0, 33.5),
    "neck": (0.0, 10.5),
    "thorax": (6.4, 20.6),
    "abdomen": (16.4, 28.0),
    "lumbar": (18.4, 28.2),
    "pelvis": (23.4, 33.5),
}
LARGEST_SUBVOXEL_MM = 4.2


@dataclass
class TorsoPhantom:
    """A CT of a torso with everything known about it.

    Attributes:
        image: int16 (X, Y, Z), HU.
        labels: uint8 (X, Y, Z), numbers of `spine_labels`, 0 elsewhere.
        tissues: uint8 (X, Y, Z), numbers of `canvas.TISSUES`: organs, other bones, left and right femur.
        affine: float64 (4, 4), voxel index to world RAS mm.
        body_centres: label to centre (3,) of the vertebral body in world LPS mm, for centres inside the image.
        complete: labels of vertebrae that do not touch the border of the image.
        meta: what was drawn at random.
    """

    image: np.ndarray
    labels: np.ndarray
    tissues: np.ndarray
    affine: np.ndarray
    body_centres: dict[int, np.ndarray]
    complete: tuple[int, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def index_centres(self) -> dict[int, np.ndarray]:
        """Body centres in continuous voxel indices (3,) of `image`."""
        inverse = np.linalg.inv(self.affine)
        return {k: transform_points(inverse, lps_to_ras(c)) for k, c in self.body_centres.items()}


def random_anomalies(rng: np.random.Generator) -> frozenset[str]:
    """Draw anomalies; at most one change in the number of thoracic vertebrae."""
    drawn = {name for name, chance in ANOMALIES.items() if rng.uniform() < chance}
    if {"T13", "no_T12"} <= drawn:
        drawn.remove("no_T12")
    return frozenset(drawn)


def random_spacing(rng: np.random.Generator) -> np.ndarray:
    """Voxel size (3,) in mm of a clinical reconstruction: in-plane 0.7 to 1.5, slices 0.8 to 5."""
    plane = rng.uniform(0.7, 1.5)
    slices = rng.choice([1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0]) * rng.uniform(0.95, 1.05)
    return np.array([plane, plane, slices])


def _z_range(region: str | tuple[str, str], spine: Spine, rng: np.random.Generator) -> tuple[float, float]:
    """Lowest and highest z in mm of the scan; ValueError for an unknown region."""
    if isinstance(region, str) and region in REGIONS:
        top, bottom = (level + rng.uniform(-0.4, 0.4) for level in REGIONS[region])
    elif region == "random":
        length = rng.uniform(3.0, 16.0)
        top = rng.uniform(0.5, 28.0 - length)
        bottom = top + length
    elif not isinstance(region, str) and len(region) == 2:
        known = {**VERTEBRA_LABELS, **SPINE_LABELS}
        if not set(region) <= set(known):
            raise ValueError(f"region {region}: the names of two vertebrae are needed, such as ('T1', 'L5')")
        positions = dict(zip(spine.labels, spine.positions, strict=True)) | {26: 26.0, 27: 29.5}
        try:
            top, bottom = positions[known[region[0]]] - 0.75, positions[known[region[1]]] + 0.75
        except KeyError as error:
            raise ValueError(f"region {region}: this patient has no such vertebra") from error
    else:
        raise ValueError(f"region {region!r}: one of {', '.join(REGIONS)}, random or two names of vertebrae")
    return height_of(spine, bottom), height_of(spine, top)


def _extent(profile: Profile, low: float, high: float, fov: str, rng: np.random.Generator) -> tuple[Any, Any]:
    """Corners of the scanned box in mm: the whole body, or a smaller square around the spine."""
    z = np.linspace(low, high, 50)
    x0, y0, a, b = profile.skin(z)
    size = 2.0 * float(max(a.max() + 12.0, b.max() + 12.0))
    middle = np.array([float(x0.mean()), float(((y0 - b).min() + (y0 + b).max()) / 2 - 8.0)])
    if fov == "spine":
        size = min(rng.uniform(130, 280), size)
        cx, cy = profile.centre(z)
        middle = np.array([float(cx.mean()), float(cy.mean())]) + rng.uniform(-0.12, 0.12, 2) * size + [0, -0.05 * size]
    # reconstructions are square; a torso is wider than deep, so that empty rows above and below are cut
    half = np.array([size, size if fov == "spine" else min(size, 2 * float(b.max()) + 75.0)]) / 2
    return np.r_[middle - half, low], np.r_[middle + half, high]


def make_torso(
    seed: int,
    spacing_mm: Sequence[float] | None = (1.5, 1.5, 1.5),
    region: str | tuple[str, str] = "random",
    anomalies: bool | Iterable[str] = True,
    orientation: str = "RAS",
    field_of_view: str = "random",
) -> TorsoPhantom:
    """Make a torso.

    Args:
        seed: everything random follows from it.
        spacing_mm: voxel size along right-left, front-back, head-foot; None: random.
        region: "full", "neck", "thorax", "abdomen", "lumbar", "pelvis", "random", or the first and the last vertebra.
        anomalies: draw some (True), none (False) or exactly these of `ANOMALIES`.
        orientation: axis codes of the array such as "RAS", or "random".
        field_of_view: "body", "spine" (a smaller square around the spine) or "random".
    """
    rng = np.random.default_rng(seed)
    spine_rng, scan_rng, paint_rng, noise_rng = rng.spawn(4)
    if isinstance(anomalies, bool):
        chosen = random_anomalies(spine_rng) if anomalies else frozenset()
    else:
        chosen = frozenset(anomalies)
        if unknown := chosen - set(ANOMALIES):
            raise ValueError(f"anomalies {sorted(unknown)}: known are {', '.join(ANOMALIES)}")
    spine = random_spine(chosen, spine_rng)
    profile = random_profile(spine, spine_rng)
    spacing = random_spacing(scan_rng) if spacing_mm is None else np.asarray(spacing_mm, float)
    low_z, high_z = _z_range(region, spine, scan_rng)
    fov = str(scan_rng.choice(["body", "spine"], p=[0.7, 0.3])) if field_of_view == "random" else field_of_view
    low, high = _extent(profile, low_z, high_z, fov, scan_rng)
    nx, ny, nz = (int(n) for n in np.maximum(np.round((high - low) / spacing), 8))
    shape = (nx, ny, nz)
    sub = np.ceil(spacing / LARGEST_SUBVOXEL_MM).astype(int)
    sub += (sub + 1) % 2  # odd, so that one subvoxel lies in the middle
    fine = spacing / sub
    canvas = Voxels(low - (sub - 1) / 2 * fine, fine, (nx * int(sub[0]), ny * int(sub[1]), nz * int(sub[2])), paint_rng)
    scanner = random_scanner(spacing, scan_rng)
    meta = _paint_patient(canvas, profile, chosen, (low_z, high_z), paint_rng)
    if scanner.table:
        z = np.linspace(low_z, high_z, 20)
        _, y0, _, b = profile.skin(z)
        paint_table(canvas, float((y0 - b).min()), scan_rng)
    image = expose(canvas, scanner, shape, noise_rng)
    if scanner.circle:
        cut_circle(image, spacing)
    pick = tuple(slice(int(s) // 2, None, int(s)) for s in sub)
    affine = np.diag([*spacing, 1.0])
    shift = scan_rng.uniform(-200, 200, 3)  # world origin of the scanner
    affine[:3, 3] = low + shift
    codes = str(scan_rng.choice(orientation_codes())) if orientation == "random" else orientation
    image, turned = reorient(np.round(image).astype(np.int16), affine, codes)
    labels, _ = reorient(canvas.labels[pick], affine, codes)
    tissues, _ = reorient(canvas.tissues[pick], affine, codes)
    centres = {}
    for label, pose in zip(spine.labels, spine.poses, strict=True):
        if np.all(np.abs((pose.centre - low) / spacing - (np.array(shape) - 1) / 2) <= (np.array(shape) - 1) / 2):
            centres[label] = ras_to_lps(pose.centre + shift)
    meta.update(
        seed=seed, anomalies=sorted(chosen), spine=list(spine.labels), scanner=scanner.__dict__, orientation=codes,
        spacing_mm=[float(s) for s in spacing], field_of_view=fov, scale=spine.scale, fat_mm=profile.fat,
    )  # fmt: skip
    return TorsoPhantom(image, labels, tissues, turned, centres, _complete(labels), meta)


def _paint_patient(
    canvas: Voxels,
    profile: Profile,
    anomalies: frozenset[str],
    z_range: tuple[float, float],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Paint everything inside the skin; returns what was drawn."""
    spine = profile.spine
    soft_rng, bone_rng, organ_rng, choice = rng.spawn(4)
    seen = [
        label
        for label, pose in zip(spine.labels, spine.poses, strict=True)
        if z_range[0] < pose.centre[2] < z_range[1] and (label >= 13 or label == VERTEBRA_LABELS["T13"])
    ]
    some = [int(v) for v in choice.permutation(seen)]
    fractured = frozenset(some[: int(choice.integers(1, 3))]) if "wedge" in anomalies else frozenset()
    vertebrae = random_vertebrae(spine, fractured, bone_rng)
    contrast = float(choice.uniform(80, 330)) if choice.uniform() < 0.6 else 0.0
    bone = Bone(
        cortex=float(np.clip(choice.normal(570, 120), 330, 850)),
        marrow=float(choice.uniform(45, 240)),
        cortex_mm=float(choice.uniform(0.7, 1.25)),
        rough=float(choice.uniform(20, 60)),
    )
    arms = str(choice.choice(["up", "down"], p=[0.75, 0.25]))
    paint_soft_tissue(canvas, profile, random_build(profile, soft_rng))
    paint_back_muscles(canvas, profile)
    paint_chest_organs(canvas, profile, contrast, organ_rng)
    paint_abdomen(canvas, profile, contrast, organ_rng)
    sizes = {v.label: (v.shape.body_x, v.shape.body_y) for v in vertebrae}
    paint_discs_and_canal(canvas, profile, float(choice.uniform(70, 105)), sizes)
    paint_skeleton(canvas, vertebrae, profile, bone, arms, bone_rng)
    paint_skull(canvas, spine, Bone(bone.cortex * 1.2, 250.0, 2.0 * bone.cortex_mm))
    implants: dict[str, Any] = {}
    if "screws" in anomalies:
        candidates = [v for v in vertebrae if v.label in seen and v.label >= 16] or vertebrae[-4:]
        first = int(choice.integers(0, max(len(candidates) - 1, 1)))
        screwed = candidates[first : first + int(choice.integers(2, 5))]
        paint_screws(canvas, screwed)
        implants["screws"] = [v.label for v in screwed]
    if "hip_implant" in anomalies:
        side = int(choice.choice([-1, 1]))
        paint_hip_prosthesis(canvas, spine, side)
        implants["hip"] = "right" if side > 0 else "left"
    return {
        "fractured": {v.label: v.front for v in vertebrae if v.label in fractured},
        "implants": implants,
        "contrast_hu": contrast,
        "bone": {"cortex": bone.cortex, "marrow": bone.marrow, "cortex_mm": bone.cortex_mm},
        "arms": arms,
        "tissues": TISSUES,
    }


def _complete(labels: np.ndarray) -> tuple[int, ...]:
    """Vertebrae in a label map (X, Y, Z) that touch no border."""
    found = []
    for label, box in enumerate(find_objects(labels), start=1):
        if box is None or label in (26, 27):
            continue
        if all(part.start > 0 and part.stop < size for part, size in zip(box, labels.shape, strict=True)):
            found.append(label)
    return tuple(found)
