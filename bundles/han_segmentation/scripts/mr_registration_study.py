"""How well MR→CT registration finds known motions of a real pair, and what it refuses; run from the bundle folder:

    python -m scripts.mr_registration_study --data_dir /path/to/head_neck --output_dir study

The folder holds ``ct_template.nii.gz`` (Rorden et al., 2012; Cormack units), ``t1_template.nii.gz`` of the same space
and ``t1_whole_head.nii.gz``, another head. Both templates are averages of different people, the CT's head is 4 % larger
than the T1's: the rigid transform that fits best is about 2 mm from what their headers say. A motion counts as
recovered where the moved T1 comes to lie where the unmoved one does after its registration.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from .mr_registration import align_mr, target_error
from .shared.engines.terminal import run_command
from .shared.geometry.frames import transform_points
from .shared.geometry.rigid import rigid_matrix
from .shared.io.itk_images import aligned_grid, image_center, move_image, read_image, resample
from .shared.io.json_files import write_json

GRID_MM = 2.0
REACH_MM = 60.0  # from the centre of the MR, of the points that errors are measured at
GOOD_MM, GOOD_DEG = 1.0, 1.0


def cormack_to_hu(image: sitk.Image) -> sitk.Image:
    """HU (float32) of a CT in units that stretch soft tissue (Rorden et al., NeuroImage 61, 2012)."""
    c = sitk.GetArrayFromImage(image).astype(np.float32)
    hu = np.where(c < 900, c - 1000, np.where(c < 3100, (c - 900) / 11 - 100, c - 3000)).astype(np.float32)
    result = sitk.GetImageFromArray(hu)
    result.CopyInformation(image)
    return result


def template_pair(folder: Path) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """CT in HU, T1 of the same space, T1 of another head; the latter two with voxels of GRID_MM."""
    first, other = (read_image(folder / name) for name in ("t1_template.nii.gz", "t1_whole_head.nii.gz"))
    ct = cormack_to_hu(read_image(folder / "ct_template.nii.gz"))
    t1, other_t1 = (resample(image, aligned_grid(image, GRID_MM), 0.0) for image in (first, other))
    return ct, t1, other_t1


def random_motion(image: sitk.Image, angle_deg: float, shift_mm: float, generator: np.random.Generator) -> np.ndarray:
    """(4, 4) rigid, LPS mm: a random turn of at most an angle about the centre of an image, then a random shift."""
    axis, way = (v / np.linalg.norm(v) for v in generator.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(np.radians(angle_deg * generator.uniform()) * axis).as_matrix()
    center = image_center(image)
    return rigid_matrix(turn, center, center + shift_mm * generator.uniform() * way)


def turn_between(first: np.ndarray, second: np.ndarray) -> float:
    """Angle in degrees between two rigid matrices (4, 4)."""
    return float(np.degrees(Rotation.from_matrix(first[:3, :3] @ second[:3, :3].T).magnitude()))


def recover(
    ct: sitk.Image, mr: sitk.Image, still: np.ndarray, motion: np.ndarray, points: np.ndarray
) -> dict[str, Any]:
    """Register an MR that was moved by a motion (4, 4).

    Args:
        ct: HU.
        mr: before it is moved.
        still: (4, 4), what the registration of the unmoved MR gives.
        motion: (4, 4), LPS mm.
        points: (N, 3) LPS mm in the unmoved MR, at which the error is measured.

    Returns:
        "error_mm", "error_deg", "shift_mm" and "turn_deg" (of the motion), "accepted", "information".
    """
    found = align_mr(ct, move_image(mr, motion))
    total = found.matrix @ motion
    center = image_center(mr)
    return {
        "turn_deg": turn_between(motion, np.eye(4)),
        "shift_mm": float(np.linalg.norm(transform_points(motion, center) - center)),
        "error_mm": target_error(total, still, points),
        "error_deg": turn_between(total, still),
        "accepted": found.accepted,
        "information": found.information,
    }


def study(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike = "study",
    starts: int = 20,
    angle_deg: float = 15.0,
    shift_mm: float = 30.0,
    seed: int = 0,
) -> None:
    """Measure, print a table and write ``registration_study.json``.

    Args:
        data_dir: the folder with the templates.
        output_dir: for the JSON.
        starts: motions to recover.
        angle_deg, shift_mm: largest turn and shift.
        seed: of the motions.
    """
    ct, mr, other = template_pair(Path(data_dir))
    generator = np.random.default_rng(seed)
    points = image_center(mr) + generator.uniform(-REACH_MM, REACH_MM, (100, 3))
    still = align_mr(ct, mr)
    headers = target_error(still.matrix, np.eye(4), points)
    print(f"unmoved: {headers:.2f} mm from the headers, {'accepted' if still.accepted else still.refusal}")
    rows = []
    for number in range(starts):
        rows.append(recover(ct, mr, still.matrix, random_motion(mr, angle_deg, shift_mm, generator), points))
        shown = {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in rows[-1].items()}
        print(number, shown, flush=True)
    good = sum(row["error_mm"] <= GOOD_MM and row["error_deg"] <= GOOD_DEG for row in rows)
    foreign, empty = align_mr(ct, other), align_mr(ct, mr * 0)
    print(f"within {GOOD_MM:g} mm and {GOOD_DEG:g} degree: {good} of {starts}")
    print(f"accepted: {sum(row['accepted'] for row in rows)} of {starts}")
    print(f"other head: {foreign.refusal or 'ACCEPTED'}; empty: {empty.refusal or 'ACCEPTED'}")
    document = {
        "unmoved_mm_from_headers": headers,
        "recovered": good,
        "starts": rows,
        "other_head_refused": not foreign.accepted,
        "empty_refused": not empty.accepted,
    }
    write_json(Path(output_dir) / "registration_study.json", document)


if __name__ == "__main__":
    run_command(study)
