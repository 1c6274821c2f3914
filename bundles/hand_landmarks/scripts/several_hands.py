"""Several hands in one picture become one case each, with the part of the picture that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.transforms import LoadImage
from scipy import ndimage
from skimage.filters import gaussian, threshold_otsu

from .points import pixel_sizes
from .transforms import covered, fit_to_canvas, is_inverted, without_bright_corners

LOOK = (192, 256)
"""Canvas (X, Y) on which hands are counted."""
ROOM = 0.12
"""What is added to each side of a hand, relative to its length."""
TOUCH = 0.03
"""What is added, in the same way, towards a hand that touches: the tip of a thumb may lie in its area."""
MIN_SHARE = 0.4
"""Area of a further hand relative to the largest one."""


def with_room(extents: np.ndarray, number: int) -> np.ndarray:
    """Extent (2 axes, 2 ends) of a hand with room for faint fingertips, up to the middle of the gap to other hands.

    Args:
        extents: (hands, 2, 2) of all hands.
        number: which of them.
    """
    own = extents[number]
    length = (own[:, 1] - own[:, 0]).max()
    room = own + np.array([-1, 1]) * ROOM * length
    for other in np.delete(extents, number, axis=0):
        gaps = np.stack([own[:, 0] - other[:, 1], other[:, 0] - own[:, 1]], axis=1)  # before and after, along each axis
        axis, end = np.unravel_index(gaps.argmax(), gaps.shape)
        limit = own[axis, end] + (1 if end else -1) * max(gaps[axis, end] / 2, TOUCH * length)
        room[axis, end] = min(room[axis, end], limit) if end else max(room[axis, end], limit)
    return room


def hand_boxes(image: np.ndarray, pixel: Sequence[float] | np.ndarray = (1.0, 1.0)) -> list[list[int]]:
    """Boxes of the hands of a picture, from left to right; one box, the whole picture, unless there are several.

    Hands are bright areas of comparable size and height that a narrow touch (two thumbs, say) does not join.

    Args:
        image: (X, Y), any grey values.
        pixel: width and height of a pixel, any unit.

    Returns:
        first and last + 1 index along x and y of each.
    """
    whole = [[0, image.shape[0], 0, image.shape[1]]]
    low, high = np.percentile(image, [0.5, 99.5])
    if high <= low:
        return whole
    small, matrix = fit_to_canvas(np.clip((image - low) / (high - low), 0, 1), LOOK, pixel)
    view = covered(image.shape, LOOK, matrix)
    picture = without_bright_corners(small[view])
    if is_inverted(picture):
        picture = 1 - picture
    smooth = gaussian(picture, sigma=1.5)
    bright = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    cores, count = ndimage.label(ndimage.binary_erosion(bright, iterations=6))
    if count < 2:
        return whole
    sizes = np.bincount(cores.ravel(), minlength=count + 1)[1:]
    slices = ndimage.find_objects(cores)
    heights = np.array([part[1].stop - part[1].start for part in slices])
    widths = np.array([part[0].stop - part[0].start for part in slices])
    largest = int(sizes.argmax())
    hands = [
        index
        for index in range(count)
        if sizes[index] >= MIN_SHARE * sizes[largest]
        and heights[index] >= 0.6 * heights[largest]
        and widths[index] >= 0.5 * widths[largest]
    ]
    if len(hands) < 2:
        return whole
    # Every bright pixel goes to the nearest hand: fingers that the erosion has cut off come back.
    cores = np.where(np.isin(cores, [index + 1 for index in hands]), cores, 0)
    nearest = ndimage.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    owner = np.where(bright, cores[tuple(nearest)], 0)
    areas = ndimage.find_objects(owner)
    extents = np.array([[[part.start, part.stop] for part in areas[index]] for index in hands], dtype=float)
    boxes = []
    for ends in (with_room(extents, number) for number in range(len(extents))):
        box: list[int] = []
        for axis in range(2):
            in_image = (ends[axis] + view[axis].start) * matrix[axis, axis] + matrix[axis, 2]
            box += np.clip(np.round(in_image), 0, image.shape[axis]).astype(int).tolist()
        boxes.append(box)
    return sorted(boxes)


def separate_hands(cases: Sequence[dict[str, Any]], reader: Any) -> list[dict[str, Any]]:
    """Cases in which each hand of a picture of several is one of its own: ``<case>_1`` is the one furthest to the left.

    A file that cannot be read stays as it is: the reading of its case will say why.

    Args:
        cases: as ``find_cases`` gives them.
        reader: of radiographs.

    Returns:
        the cases; those of several hands have a ``box`` (first and last + 1 index along x and y) and ``hand``, such as
        "1 of 2".
    """
    load = LoadImage(reader=reader, image_only=True)
    separated: list[dict[str, Any]] = []
    taken = {case["case"] for case in cases}
    for case in cases:
        try:
            image = load(case["image"])
            boxes = hand_boxes(image.numpy(), pixel_sizes(image.affine))
        except Exception:  # whatever it is, the reading of the case meets it again
            boxes = []
        if len(boxes) < 2:
            separated.append(case)
            continue
        for number, box in enumerate(boxes, start=1):
            name = f"{case['case']}_{number}"
            while name in taken:
                name += "_hand"
            separated.append({**case, "case": name, "box": box, "hand": f"{number} of {len(boxes)}"})
    return separated
