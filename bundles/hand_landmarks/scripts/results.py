"""What is reported about one hand: points in the file, their trust, the side, the scale, warnings, pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from PIL import Image, ImageDraw
from torch import Tensor

from .alignment import upright_matrix
from .hand_anatomy import HAND_BONES, HAND_LANDMARK_NAMES, WRIST, WRIST_MM
from .inferer import hand_score
from .phantoms.shape import MEAN_SHAPE, SHAPE_MODES
from .points import to_file_indices, transform_points
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.point_files import landmark_result, write_landmarks

LOW_CONFIDENCE = 0.3
MAX_PICTURE = 1024


def bone_lengths(points: np.ndarray) -> np.ndarray:
    """Lengths (..., bones) between the joined landmarks of (..., 37, 2) points, in their unit."""
    first, second = np.array(HAND_BONES).T
    return np.linalg.norm(points[..., first, :] - points[..., second, :], axis=-1)


def implausible_bones(points: np.ndarray, limit: float = 5.0) -> list[int]:
    """Bones whose length relative to the other bones of this hand no real hand shows.

    The logarithm of every length is compared with that of the mean hand, after the median ratio (the size of the hand)
    is taken out; the spread comes from the modes of the shape model.

    Args:
        points: (37, 2), any unit, isotropic.
        limit: how many standard deviations are plausible.

    Returns:
        indices into ``HAND_BONES``.
    """
    mean = bone_lengths(MEAN_SHAPE)
    spread = np.sqrt(np.sum((np.log(bone_lengths(MEAN_SHAPE + SHAPE_MODES) / mean)) ** 2, axis=0))
    ratio = np.log(np.maximum(bone_lengths(points), 1e-6) / mean)
    ratio -= np.median(ratio)
    # No bone varies by less than annotators do: 1.5 mm at each end.
    return [int(i) for i in np.flatnonzero(np.abs(ratio) > limit * np.maximum(spread, 1.5 / mean))]


def hand_side(points: np.ndarray) -> str:
    """ "left" or "right": where the thumb lies, for a hand seen from the back or through, fingers anywhere.

    Args:
        points: (37, 2) in the upright picture, whose second axis points down.
    """
    along = points[25] - points[WRIST[0]]  # forearm to middle finger
    across = points[18] - points[33]  # little finger to thumb
    return "left" if along[0] * across[1] - along[1] * across[0] > 0 else "right"


def upright_points(pred: Tensor, image: MetaTensor, original: MetaTensor) -> np.ndarray:
    """Points (37, 2) in indices of the upright picture: the file turned as its EXIF header says.

    Args:
        pred: (37, 3) canvas indices and confidence.
        image: the canvas with its affine.
        original: (1, X, Y) the upright picture with its affine.
    """
    to_upright = torch.linalg.inv(original.affine.double().cpu()) @ image.affine.double().cpu()
    return transform_points(torch.as_tensor(pred[:, :2]).cpu(), to_upright).numpy()


def refuse_other_pictures(pred: Tensor, image: MetaTensor, min_score: float) -> None:
    """Refuse a picture whose points neither look like a hand nor are trusted.

    Args:
        pred: (37, 3) canvas indices and confidence.
        image: the canvas.
        min_score: lowest :func:`~scripts.inferer.hand_score` of a hand.

    Raises:
        CaseError: when the points score less.
    """
    pred = torch.as_tensor(pred).as_subclass(Tensor).cpu()
    mirror = torch.tensor([-1.0, 1.0])
    # The size of the frame does not matter here, the distances are in mm.
    scores = [
        hand_score(pred[:, 2], upright_matrix(points, (2, 2))[1]) for points in (pred[:, :2], pred[:, :2] * mirror)
    ]
    if max(scores) < min_score:
        name = str(image.meta.get("filename_or_obj", "image"))
        raise CaseError(name, "shows no hand that could be recognised", "give a radiograph of one whole hand")


def hand_result(case: str, pred: Tensor, image: MetaTensor, original: MetaTensor) -> dict[str, Any]:
    """Result of one case in the form that is written to JSON.

    Args:
        case: name.
        pred: (37, 3) canvas indices and confidence.
        image: the canvas with its affine.
        original: (1, X, Y) the upright picture; its affine gives the millimetres where the file knows them.
    """
    points = to_file_indices(torch.as_tensor(pred[:, :2]).cpu(), image).numpy()
    upright = upright_points(pred, image, original)
    confidence = torch.as_tensor(pred[:, 2]).cpu().numpy()
    size = np.array(original.shape[1:])
    warnings = []
    if image.meta.get("inverted"):
        warnings.append("the picture was inverted: bones dark on a bright background")
    side = hand_side(upright)
    if side == "right":
        warnings.append("a right hand, or a mirrored left one: processed as its mirror image")
    outside = np.flatnonzero(((upright < -0.5) | (upright > size - 0.5)).any(axis=1))
    if len(outside):
        warnings.append("outside of the picture: " + ", ".join(HAND_LANDMARK_NAMES[i] for i in outside))
    low = np.flatnonzero(confidence < LOW_CONFIDENCE)
    if len(low):
        warnings.append("low confidence: " + ", ".join(HAND_LANDMARK_NAMES[i] for i in low))
    for bone in implausible_bones(points):
        first, second = (HAND_LANDMARK_NAMES[i] for i in HAND_BONES[bone])
        warnings.append(f"implausible length between {first} and {second}")
    if original.meta.get("spacing_source", "none") == "none":
        wrist = float(np.linalg.norm(points[WRIST[0]] - points[WRIST[1]]))
        mm_per_pixel, source = [WRIST_MM / max(wrist, 1e-6)] * 2, f"wrist taken as {WRIST_MM:g} mm"
    else:
        matrix = torch.as_tensor(original.meta["original_affine"])[:2, :2]
        mm_per_pixel, source = matrix.norm(dim=0).tolist(), str(original.meta["spacing_source"])
    return landmark_result(
        case,
        "pixels of the file, x to the right, y down, centre of the first pixel = 0, 0",
        HAND_LANDMARK_NAMES,
        points,
        confidence,
        warnings,
        side=side,
        mm_per_pixel=[round(value, 6) for value in mm_per_pixel],
        mm_per_pixel_source=source,
    )


def draw_overlay(original: np.ndarray, points: np.ndarray, confidence: np.ndarray, truth: np.ndarray | None = None):
    """Picture of the bones over the radiograph.

    Args:
        original: (X, Y) grey values of the file.
        points: (37, 2) pixels of the file.
        confidence: (37,); points below ``LOW_CONFIDENCE`` are red.
        truth: (37, 2) reference points, drawn as green crosses.

    Returns:
        PIL image, long edge at most ``MAX_PICTURE``.
    """
    low, high = np.percentile(original, [0.5, 99.5])
    grey = np.clip((original - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = Image.fromarray(grey.T.astype(np.uint8)).convert("RGB")
    scale = min(1.0, MAX_PICTURE / max(picture.size))
    if scale < 1:
        picture = picture.resize([max(1, round(size * scale)) for size in picture.size], Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    drawn = (points + 0.5) * scale - 0.5
    unit = max(1.0, max(picture.size) / 512)
    for first, second in HAND_BONES:
        draw.line([*drawn[first], *drawn[second]], fill=(80, 160, 255), width=round(unit))
    for (x, y), trust in zip(drawn, confidence, strict=True):
        colour = (255, 60, 60) if trust < LOW_CONFIDENCE else (255, 210, 0)
        radius = 2.2 * unit
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=round(unit))
    if truth is not None:
        for x, y in (truth + 0.5) * scale - 0.5:
            radius = 2.2 * unit
            draw.line([x - radius, y, x + radius, y], fill=(60, 220, 60), width=round(unit))
            draw.line([x, y - radius, x, y + radius], fill=(60, 220, 60), width=round(unit))
    return picture


def landmark_map(points: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """Discs around the landmarks, numbered from 1: (X, Y) uint8.

    Args:
        points: (K, 2) pixels.
        shape: (X, Y) of the map.
        radius: of the discs in pixels.
    """
    labels = np.zeros(shape, dtype=np.uint8)
    for index, point in enumerate(points):
        if not np.isfinite(point).all():
            continue
        low = np.maximum(np.floor(point - radius).astype(int), 0)
        high = np.minimum(np.ceil(point + radius).astype(int) + 1, shape)
        if (high <= low).any():
            continue
        x, y = np.ogrid[low[0] : high[0], low[1] : high[1]]
        labels[low[0] : high[0], low[1] : high[1]][(x - point[0]) ** 2 + (y - point[1]) ** 2 <= radius**2] = index + 1
    return labels


class HandResultd(MapTransform):
    """Turn the prediction (37, 3) into the result of the case (``result``), its points and their confidence in pixels of
    the file (``found``), and a label map on the grid of the file.

    Args:
        keys: the prediction.
        image_key: canvas, in whose indices the prediction comes.
        original_key: the file as it was read.
        output_dir: where ``<case>_landmarks.json`` and ``<case>_overlay.png`` go; nothing is written where None.
        min_score: how much the points have to look like a hand, 0..1; radiographs of hands reach more than 0.5, other
            pictures less than 0.05.

    Raises:
        CaseError: when the picture shows no hand.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        original_key: str = "original",
        output_dir: str | None = None,
        min_score: float = 0.2,
    ) -> None:
        super().__init__(keys)
        self.min_score = min_score
        self.image_key, self.original_key = image_key, original_key
        self.output_dir = None if output_dir is None else Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        image, original = output[self.image_key], output[self.original_key]
        for key in self.key_iterator(output):
            refuse_other_pictures(output[key], image, self.min_score)
            result = hand_result(str(output.get("case", "case")), output[key], image, original)
            points = upright_points(output[key], image, original)
            confidence = torch.as_tensor(output[key])[:, 2].cpu().numpy()
            if self.output_dir is not None:
                self.output_dir.mkdir(parents=True, exist_ok=True)
                write_landmarks(self.output_dir / f"{result['case']}_landmarks.json", result)
                with atomic_path(self.output_dir / f"{result['case']}_overlay.png") as path:
                    draw_overlay(original[0].cpu().numpy(), points, confidence).save(path, format="png")
            size = tuple(original.shape[1:])
            labels = landmark_map(points, size, radius=max(2.0, max(size) / 200))
            output["result"] = result
            in_file = to_file_indices(torch.as_tensor(output[key])[:, :2].cpu(), image)
            output["found"] = torch.column_stack([in_file, torch.as_tensor(confidence)])
            output[key] = MetaTensor(torch.as_tensor(labels)[None], meta=dict(original.meta))
        return output
