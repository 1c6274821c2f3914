"""MR to CT: a known motion is found again, the MR comes to lie on the CT's grid, foreign and empty MRs are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from bundles.han_segmentation.scripts.mr_registration import (
    align_mr,
    judge,
    normalised_information,
    target_error,
)
from bundles.han_segmentation.scripts.mr_registration_study import template_pair
from shared.geometry.rigid import rigid_matrix
from shared.io.itk_images import image_center, move_image, to_sitk
from tests.han_segmentation.heads import head

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def pair(seed: int = 3) -> tuple[sitk.Image, sitk.Image, np.ndarray]:
    """CT, T1 and the true matrix (4, 4) between them, LPS mm."""
    phantom = head(seed)
    assert phantom.mr is not None
    matrix = LPS @ phantom.mr_to_ct @ LPS
    return to_sitk(phantom.ct, phantom.affine), to_sitk(phantom.mr, phantom.mr_affine), matrix


def head_points(mr: sitk.Image) -> np.ndarray:
    """Points (N, 3) all over an MR, LPS mm."""
    return image_center(mr) + np.random.default_rng(0).uniform(-60, 60, (100, 3))


def test_known_motion_is_found_again():
    ct, mr, truth = pair()
    found = align_mr(ct, mr)
    assert found.accepted and found.doubt is None, found
    assert target_error(found.matrix, truth, head_points(mr)) < 1.5  # voxels of 4 mm
    turn = Rotation.from_matrix((found.matrix @ np.linalg.inv(truth))[:3, :3]).magnitude()
    assert np.degrees(turn) < 1.0


@pytest.mark.parametrize("other", [4, 7, 9])
def test_the_mr_of_another_patient_is_refused_or_doubted(other):
    ct, _, _ = pair()
    found = align_mr(ct, pair(other)[1])
    assert found.refusal or found.doubt, found


def test_wrong_pose_is_judged_worse():
    ct, mr, truth = pair()
    right = judge(ct, mr, truth)
    assert right.accepted and right.stretch < 0.05, right
    aside = rigid_matrix(np.eye(3), np.zeros(3), np.array([25.0, 10.0, -20.0])) @ truth
    wrong = judge(ct, mr, aside)
    assert wrong.information < 0.7 * right.information
    far = rigid_matrix(np.eye(3), np.zeros(3), np.array([0.0, 500.0, 0.0])) @ truth
    assert "inside the CT" in (judge(ct, mr, far).refusal or "")


def test_a_head_of_another_width_is_refused():
    ct, mr, truth = pair()
    wide = sitk.Image(mr)
    spacing = list(mr.GetSpacing())
    spacing[0] *= 1.12
    wide.SetSpacing(spacing)
    shift = image_center(mr) - image_center(wide)
    found = judge(ct, wide, truth @ rigid_matrix(np.eye(3), np.zeros(3), shift))
    assert found.refusal is not None and found.stretch == pytest.approx(np.log(1.12), abs=0.05), found


@pytest.mark.parametrize("content", ["empty", "noise"])
def test_mr_without_a_head_is_refused(content):
    ct, mr, _ = pair()
    values = np.zeros(mr.GetSize()[::-1], np.float32)
    if content == "noise":
        values += 100 + 20 * np.random.default_rng(0).standard_normal(values.shape, dtype=np.float32)
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(mr)
    found = align_mr(ct, image)
    assert not found.accepted


def test_information_of_equal_and_unrelated_values():
    rng = np.random.default_rng(0)
    first = rng.normal(size=20000)
    assert normalised_information(first, np.exp(first)) == pytest.approx(1.0, abs=1e-9)
    assert normalised_information(first, -3 * first + 7) == pytest.approx(1.0, abs=1e-9)
    assert normalised_information(first, rng.normal(size=20000)) < 0.01
    assert normalised_information(first, np.zeros(20000)) == 0.0


def test_templates_of_ct_and_t1():
    root = Path(os.environ.get("BUNDLES_DATA", "")) / "head_neck"
    if not os.environ.get("BUNDLES_DATA") or not root.exists():
        pytest.skip("BUNDLES_DATA names no folder with head_neck")
    ct, t1, other = template_pair(root)
    still = align_mr(ct, t1)
    assert still.accepted and still.doubt is not None, still  # averages of heads of different size
    turn = Rotation.from_rotvec(np.radians(12) * np.array([0.6, -0.6, 0.53])).as_matrix()
    motion = rigid_matrix(turn, image_center(t1), image_center(t1) + np.array([15.0, -20.0, 15.0]))
    found = align_mr(ct, move_image(t1, motion))
    assert found.accepted and target_error(found.matrix @ motion, still.matrix, head_points(t1)) < 1.0
    assert not align_mr(ct, other).accepted
