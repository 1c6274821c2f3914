"""What is reported about one hand: points in the file, their trust, the side, the scale, warnings, pictures."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from skimage.filters import gaussian, threshold_otsu
from torch import Tensor

from .alignment import upright_matrix
from .inferer import hand_score
from .landmark_set import LandmarkSet
from .pictures import draw_overlay, landmark_map
from .points import fit_similarity, pixel_sizes, to_file_indices
from .radius import radius_mm
from .shared.geometry.frames import plain_tensor, transform_points
from .shared.io.errors import CaseError
from .shared.io.point_files import landmark_result, write_landmarks
from .shared.pictures.files import save_picture
from .shared.xray.pixel_size import PixelSize

BESIDE_MM = 25.0
"""How far soft tissue and a sleeve may reach beyond the outermost landmarks."""
MAX_BESIDE = 0.25


def implausible_bones(points: np.ndarray, landmark_set: LandmarkSet, limit: float = 5.0) -> list[int]:
    """Bones whose length relative to the other bones of this hand no real hand shows.

    The logarithm of every length is compared with that of the mean hand, after the median ratio (the size of the hand)
    is taken out; the spread comes from the modes of the shape.

    Args:
        points: (K, 2), any unit, isotropic.
        landmark_set: of the landmarks.
        limit: how many standard deviations are plausible.

    Returns:
        indices into the bones of the set.
    """
    mean = landmark_set.bone_lengths(landmark_set.mean)
    varied = landmark_set.bone_lengths(landmark_set.mean + landmark_set.modes)
    spread = np.sqrt(np.sum(np.log(varied / mean) ** 2, axis=0))
    ratio = np.log(np.maximum(landmark_set.bone_lengths(points), 1e-6) / mean)
    ratio -= np.median(ratio)
    # No bone varies by less than annotators do: 1.5 mm at each end.
    return [int(i) for i in np.flatnonzero(np.abs(ratio) > limit * np.maximum(spread, 1.5 / mean))]


def upright_points(pred: Tensor, image: MetaTensor, original: MetaTensor) -> np.ndarray:
    """Points (K, 2) in indices of the upright picture: the file turned as its EXIF header says.

    Args:
        pred: (K, 3) canvas indices and confidence.
        image: the canvas with its affine.
        original: (1, X, Y) the upright picture with its affine.
    """
    to_upright = torch.linalg.inv(original.affine.double().cpu()) @ image.affine.double().cpu()
    return transform_points(to_upright, torch.as_tensor(pred[:, :2]).cpu()).numpy()


def refuse_other_pictures(pred: Tensor, image: MetaTensor, landmark_set: LandmarkSet, min_score: float) -> None:
    """Refuse a picture whose points neither look like a hand nor are trusted.

    Args:
        pred: (K, 3) canvas indices and confidence.
        image: the canvas.
        landmark_set: of the landmarks.
        min_score: lowest :func:`~scripts.inferer.hand_score` of a hand.

    Raises:
        CaseError: when the points score less.
    """
    pred = plain_tensor(pred).cpu()
    mirror = torch.tensor([-1.0, 1.0])
    # The size of the frame does not matter here, the distances are in mm.
    scores = [
        hand_score(pred[:, 2], upright_matrix(points, landmark_set.mean, (2, 2))[1])
        for points in (pred[:, :2], pred[:, :2] * mirror)
    ]
    if max(scores) < min_score:
        name = str(image.meta.get("filename_or_obj", "image"))
        raise CaseError(name, "shows no hand that could be recognised", "give a radiograph of one whole hand")


def bright_beside(points: np.ndarray, image: MetaTensor, landmark_set: LandmarkSet) -> float:
    """Bright area to the left and right of a hand, relative to the box of its landmarks; another hand has about a half.

    Args:
        points: (K, 2) canvas indices.
        image: the canvas.
        landmark_set: of the landmarks.
    """
    mirror = np.array([1.0 if landmark_set.side_of(points) == landmark_set.side else -1.0, 1.0])
    to_mean, _ = fit_similarity(torch.as_tensor(points * mirror), torch.as_tensor(landmark_set.mean))
    step = 4
    canvas = gaussian(image[0].cpu().numpy(), sigma=step)[::step, ::step]
    bright = np.argwhere(canvas > threshold_otsu(canvas)) * step * mirror
    low, high = (edge(transform_points(to_mean, points * mirror), axis=0) for edge in (np.min, np.max))
    across = transform_points(to_mean, bright)[:, 0]
    count = ((across < low[0] - BESIDE_MM) | (across > high[0] + BESIDE_MM)).sum()
    return float(count * step**2 * to_mean[:2, :2].det() / np.prod(high - low))


def hand_result(
    case: str,
    pred: Tensor,
    image: MetaTensor,
    original: MetaTensor,
    landmark_set: LandmarkSet,
    min_confidence: float,
    calibration: Mapping[str, Any] | None = None,
    hand: str = "",
) -> dict[str, Any]:
    """Result of one case in the form that is written to JSON.

    Args:
        case: name.
        pred: (K, 3) canvas indices and confidence.
        image: the canvas with its affine.
        original: (1, X, Y) the upright picture; its affine gives the millimetres where the file knows them.
        landmark_set: of the landmarks.
        min_confidence: points below are named in a warning.
        calibration: of the radius that holds nine of ten points.
        hand: which of several hands of the picture it is, such as "1 of 2".
    """
    names = landmark_set.names
    points = to_file_indices(torch.as_tensor(pred[:, :2]).cpu(), image).numpy()
    upright = upright_points(pred, image, original)
    confidence = torch.as_tensor(pred[:, 2]).cpu().numpy()
    size = np.array(original.shape[1:])
    file_mm = pixel_sizes(original.meta["original_affine"])
    isotropic = points * file_mm
    intake = json.loads(original.meta["intake"])
    warnings = [*intake["warnings"]]
    if hand:
        warnings.append(f"hand {hand} in this picture, counted from the left")
    if image.meta.get("inverted"):
        warnings.append("the picture was inverted: bones dark on a bright background")
    side = landmark_set.side_of(upright)
    if side != landmark_set.side:
        other = f"a {side} hand, or a mirrored {landmark_set.side} one"
        warnings.append(f"{other}: processed as its mirror image")
    outside = np.flatnonzero(((upright < -0.5) | (upright > size - 0.5)).any(axis=1))
    if len(outside):
        warnings.append("outside of the picture: " + ", ".join(names[i] for i in outside))
    low = np.flatnonzero(confidence < min_confidence)
    if len(low):
        warnings.append("low confidence: " + ", ".join(names[i] for i in low))
    for bone in implausible_bones(isotropic, landmark_set):
        first, second = (names[i] for i in landmark_set.bones[bone])
        warnings.append(f"implausible length between {first} and {second}")
    if bright_beside(torch.as_tensor(pred[:, :2]).cpu().double().numpy(), image, landmark_set) > MAX_BESIDE:
        warnings.append("a bright area of the size of a hand lies beside this one: cut the picture to one hand")
    # The size of this hand by convention is 50 mm, whatever it is in truth: errors were measured on that scale.
    by_size = landmark_set.mm_per_unit(isotropic)
    radii = np.full(len(names), np.nan) if calibration is None else radius_mm(confidence, calibration)
    pixel_size = intake["pixel_size"]
    if pixel_size is None:
        across, down = (by_size * file_mm).tolist()
        source = f"{landmark_set.size_name} taken as {landmark_set.size_mm:g} mm"
        pixel_size = PixelSize((across, down), source, None).content()
    else:
        radii = radii / by_size
    result = landmark_result(
        case,
        "pixels of the file, x to the right, y down, centre of the first pixel = 0, 0",
        names,
        points,
        confidence,
        warnings,
        side=side,
        mm_per_pixel=pixel_size["mm"],
        pixel_size=pixel_size,
        orientation="recognised",  # the inferer turns and mirrors every hand by itself
    )
    for mark in result["landmarks"]:
        if np.isfinite(radii[mark["index"]]):
            mark["radius_90_mm"] = round(float(radii[mark["index"]]), 2)
    return result


class HandResultd(MapTransform):
    """Turn the prediction (K, 3) into the result of the case (``result``), its points and their confidence in pixels of
    the file (``found``), and a label map on the grid of the file.

    Args:
        landmark_set: of the landmarks.
        keys: the prediction.
        image_key: canvas, in whose indices the prediction comes.
        original_key: the file as it was read.
        output_dir: where ``<case>_landmarks.json`` and ``<case>_overlay.png`` go; nothing is written where None.
        min_score: how much the points have to look like a hand, 0..1; radiographs of hands reach more than 0.5, other
            pictures less than 0.05.
        min_confidence: points below are named in a warning and drawn in red.
        calibration: of the radius that holds nine of ten points; without it there is none.

    Raises:
        CaseError: when the picture shows no hand.
    """

    def __init__(
        self,
        landmark_set: LandmarkSet,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        original_key: str = "original",
        output_dir: str | None = None,
        min_score: float = 0.2,
        min_confidence: float = 0.3,
        calibration: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(keys)
        self.calibration = calibration
        self.landmark_set, self.min_score, self.min_confidence = landmark_set, min_score, min_confidence
        self.image_key, self.original_key = image_key, original_key
        self.output_dir = None if output_dir is None else Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        image, original = output[self.image_key], output[self.original_key]
        case, hand = str(output.get("case", "case")), str(output.get("hand", ""))
        for key in self.key_iterator(output):
            pred = plain_tensor(output[key]).cpu()
            refuse_other_pictures(pred, image, self.landmark_set, self.min_score)
            result = hand_result(
                case, pred, image, original, self.landmark_set, self.min_confidence, self.calibration, hand
            )
            points = upright_points(pred, image, original)
            if self.output_dir is not None:
                self.output_dir.mkdir(parents=True, exist_ok=True)
                write_landmarks(self.output_dir / f"{case}_landmarks.json", result)
                radii = [mark.get("radius_90_mm", 0.0) for mark in result["landmarks"]]
                picture = draw_overlay(
                    original[0].cpu().numpy(),
                    points,
                    pred[:, 2].numpy(),
                    self.landmark_set.bones,
                    self.min_confidence,
                    np.array(radii) / np.mean(result["mm_per_pixel"]),
                )
                save_picture(picture, self.output_dir / f"{case}_overlay.png")
            size = tuple(original.shape[1:])
            labels = landmark_map(points, size, radius=max(2.0, max(size) / 200))
            output["result"] = result
            output["found"] = torch.column_stack([to_file_indices(pred[:, :2], image), pred[:, 2]])
            output[key] = MetaTensor(torch.as_tensor(labels)[None], meta=dict(original.meta))
        return output
