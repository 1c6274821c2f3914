"""From a hand radiograph of any size and exposure to a canvas of fixed size with standard grey values.

The same chain serves training and inference: trim constant margins, make bones bright, resize isotropically with
padding, match the histogram inside the hand outline to a reference.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage
from skimage.filters import gaussian, threshold_otsu

from .points import pixel_sizes, transform_points
from .shared.engines.settings import flag
from .shared.io.errors import CaseError

REFERENCE_FILE = Path(__file__).with_name("hand_reference.json")


def constant_margins(image: np.ndarray, tolerance: float = 0.005) -> tuple[slice, ...]:
    """Part of the image inside margins of one grey value (a white page around a scan, say).

    Args:
        image: (X, Y), any range.
        tolerance: spread inside a row or column, as a fraction of the range of the image, that counts as constant.

    Returns:
        One slice per axis; the whole image when there are no margins.
    """
    limit = tolerance * float(image.max() - image.min())
    slices = []
    for axis in range(2):
        lines = np.moveaxis(image, axis, 0)
        # The margin has the value of its outermost line; anything else starts the picture.
        start, stop = 0, len(lines)
        while start < stop - 1 and np.ptp(lines[start]) <= limit and abs(lines[start, 0] - lines[0, 0]) <= limit:
            start += 1
        while stop - 1 > start and np.ptp(lines[stop - 1]) <= limit and abs(lines[stop - 1, 0] - lines[-1, 0]) <= limit:
            stop -= 1
        slices.append(slice(start, stop))
    return tuple(slices)


def hand_outline(image: np.ndarray) -> np.ndarray:
    """Largest bright component after Otsu's threshold, holes filled.

    Args:
        image: (X, Y), bones bright, in 0..1.

    Returns:
        (X, Y) bool.
    """
    smooth = gaussian(image, sigma=max(image.shape) / 128)
    labels, count = ndimage.label(smooth > threshold_otsu(smooth))
    if count == 0:
        return np.zeros(image.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(labels == sizes.argmax())


def bright_corners(image: np.ndarray) -> np.ndarray:
    """Flat white areas that fill a corner, such as an unexposed wedge or a label: no part of the hand.

    What lies along more than half of the edge, or fills a third of the picture, is the background of an inverted
    picture, or a frame.

    Args:
        image: (X, Y) in 0..1.

    Returns:
        (X, Y) bool.
    """
    width = max(image.shape) // 128 + 1
    wide = np.pad(image, 4 * width, mode="edge")  # what touches the edge goes on beyond it
    smooth = gaussian(wide, sigma=width / 2)
    flat = ndimage.maximum_filter(smooth, 2 * width + 1) - ndimage.minimum_filter(smooth, 2 * width + 1) < 0.03
    white = ndimage.binary_opening(flat & (smooth > 0.96), iterations=2 * width)
    white = ndimage.binary_dilation(white, iterations=2 * width)
    labels, _ = ndimage.label(white[4 * width : -4 * width, 4 * width : -4 * width] & (image > 0.9))
    corners = {int(labels[x, y]) for x in (0, -1) for y in (0, -1)} - {0}
    found = np.isin(labels, list(corners))
    found &= np.bincount(labels.ravel(), minlength=labels.max() + 1)[labels] > 0.005 * image.size
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    # The edge of a white area is blurred: some pixels more.
    if not 0 < edge.mean() < 0.5 or found.mean() > 0.33:
        return np.zeros_like(found)
    return ndimage.binary_dilation(found, iterations=width)


def without_bright_corners(image: np.ndarray) -> np.ndarray:
    """The picture in 0..1 with its bright corners at the level of the background and the rest using the whole range.

    A picture that reaches nearly up to the white of its corners stays as it is: they do no harm there.

    Args:
        image: (X, Y) in 0..1.
    """
    corners = bright_corners(image)
    if not corners.any():
        return image
    inner = image[~corners]
    low, high = np.percentile(inner, [0.5, 99.5])
    if high > 0.85:
        return image
    rest = ~corners
    edge = np.concatenate([image[0][rest[0]], image[-1][rest[-1]], image[:, 0][rest[:, 0]], image[:, -1][rest[:, -1]]])
    filled = np.where(corners, np.median(edge if len(edge) else inner), image)
    return np.clip((filled - low) / max(high - low, 1e-6), 0, 1)


def is_inverted(image: np.ndarray) -> bool:
    """Whether the background is brighter than the hand.

    Bones give the hand fine detail that the background does not have, whatever frames and markers lie on it: the
    polarity is right when the brighter side of Otsu's threshold has more of it.

    Args:
        image: (X, Y) in 0..1.
    """
    sigma = max(image.shape) / 128
    smooth = gaussian(image, sigma=sigma)
    bright = smooth > threshold_otsu(smooth)
    detail = np.abs(gaussian(image, sigma=sigma / 2) - gaussian(image, sigma=2 * sigma))
    # The edge between both sides is detail of neither.
    steps = round(3 * sigma)
    inside, outside = (ndimage.binary_erosion(side, iterations=steps) for side in (bright, ~bright))
    if not inside.any() or not outside.any():
        return False
    return bool(np.median(detail[inside]) < np.median(detail[outside]))


def reference_quantiles() -> np.ndarray:
    """Grey values (Q,) at equally spaced quantiles inside the outline, the mean over the training hands."""
    return np.asarray(json.loads(REFERENCE_FILE.read_text())["quantiles"])


def image_quantiles(image: np.ndarray, outline: np.ndarray, count: int = 65) -> np.ndarray:
    """Grey values (count,) at equally spaced quantiles inside the outline."""
    return np.quantile(image[outline], np.linspace(0, 1, count))


def match_histogram(image: np.ndarray, outline: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Monotone map of the grey values that gives the inside of the outline the reference histogram.

    The map is found inside the outline alone and runs on linearly to 0 below it, so that a finger that Otsu's
    threshold has missed keeps its contrast.

    Args:
        image: (X, Y) in 0..1.
        outline: (X, Y) bool.
        reference: (Q,) grey values at equally spaced quantiles.
    """
    source = image_quantiles(image, outline, len(reference))
    # Equal neighbours (a saturated image) would make the map ambiguous.
    source, first = np.unique(source, return_index=True)
    return np.interp(image, np.concatenate([[0.0], source]), np.concatenate([[0.0], reference[first]]))


def fit_matrix(
    shape: Sequence[int], canvas: Sequence[int], pixel: Sequence[float] | np.ndarray = (1.0, 1.0)
) -> np.ndarray:
    """(3, 3) map from canvas to image indices: the whole image, centred, isotropic, as large as possible.

    Args:
        shape: (X, Y) of the image.
        canvas: (X, Y) of the canvas.
        pixel: width and height of a pixel of the image, any unit.
    """
    relative = np.asarray(pixel, dtype=float) / pixel[0]
    scale = (np.asarray(shape) * relative / np.asarray(canvas)).max() / relative
    matrix = np.diag([*scale, 1.0])
    # Pixel centres: the centre of the canvas is the centre of the image.
    matrix[:2, 2] = (np.asarray(shape) - 1) / 2 - scale * (np.asarray(canvas) - 1) / 2
    return matrix


def covered(shape: Sequence[int], canvas: Sequence[int], matrix: np.ndarray) -> tuple[slice, slice]:
    """Part of the canvas whose pixel centres lie on the image, one slice per axis.

    Args:
        shape: (X, Y) of the image.
        canvas: (X, Y) of the canvas.
        matrix: (3, 3) map from canvas to image indices, without rotation.
    """
    slices = []
    for axis in range(2):
        index = np.arange(canvas[axis]) * matrix[axis, axis] + matrix[axis, 2]
        inside = np.flatnonzero((index >= -0.5) & (index <= shape[axis] - 0.5))
        slices.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return slices[0], slices[1]


def fit_to_canvas(
    image: np.ndarray, canvas: Sequence[int], pixel: Sequence[float] | np.ndarray = (1.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Isotropic resize with zero padding, anti-aliased when shrinking.

    Args:
        image: (X, Y).
        canvas: (X, Y) of the result.
        pixel: width and height of a pixel of the image, any unit.

    Returns:
        the canvas and the (3, 3) map from canvas to image indices.
    """
    matrix = fit_matrix(image.shape, canvas, pixel)
    tensor = torch.as_tensor(image, dtype=torch.float32)[None, None]
    scales = matrix[0, 0], matrix[1, 1]
    if max(scales) > 1:
        # Area averages first, then exact sampling below: one step alone would alias or shift by part of a pixel.
        shrunk = [max(2, round(size / max(scale, 1.0))) for size, scale in zip(image.shape, scales, strict=True)]
        small = F.interpolate(tensor, size=shrunk, mode="bilinear", antialias=True, align_corners=False)
    else:
        small = tensor
    ratio = [source / size for source, size in zip(image.shape, small.shape[2:], strict=True)]
    axes = []
    for axis in range(2):
        index = torch.arange(canvas[axis]) * scales[axis] + matrix[axis, 2]  # in image pixels
        index = (index + 0.5) / ratio[axis] - 0.5  # in pixels of the shrunk image
        axes.append(2 * index / (small.shape[2 + axis] - 1) - 1)
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="ij")[::-1], dim=-1)[None].float()
    sampled = F.grid_sample(small, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, 0].numpy()
    x, y = covered(image.shape, canvas, matrix)
    result = np.zeros_like(sampled)
    result[x, y] = sampled[x, y]
    return result, matrix


class StandardizeHandd(MapTransform):
    """Trim margins, make bones bright, fit the canvas, match the histogram; points come along.

    The image is a MetaTensor (1, X, Y) with any grey values and pixels of any form. Its affine follows every step, so
    that ``inverse(original_affine) @ affine`` maps canvas indices to pixels of the file. ``meta["inverted"]`` says
    whether the polarity was turned.

    Args:
        keys: the image.
        canvas: (X, Y) of the result.
        points_key: landmarks (K, 2) in pixels of the file that are mapped to canvas indices, where present.
        box_key: first and last + 1 index along x and y of the part of the image that is standardised, where present.
        invert: True or False to set the polarity by hand, None to recognise it.
        match: whether to match the histogram.

    Raises:
        CaseError: when no hand outline can be found.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        canvas: Sequence[int] = (576, 768),
        points_key: str = "landmarks",
        box_key: str = "box",
        invert: bool | None = None,
        match: bool = True,
    ) -> None:
        super().__init__(keys)
        self.canvas, self.points_key, self.box_key, self.match = tuple(canvas), points_key, box_key, match
        self.invert = None if invert is None else flag("invert", invert)
        self.reference = reference_quantiles()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            result[key] = self.standardize(image, result.get(self.box_key))
            if self.points_key in result:
                to_canvas = (
                    torch.linalg.inv(result[key].affine) @ torch.as_tensor(image.meta["original_affine"]).double()
                )
                result[self.points_key] = transform_points(result[self.points_key], to_canvas)
        return result

    def standardize(self, image: MetaTensor, box: Sequence[int] | None = None) -> MetaTensor:
        """(1, X, Y) with any grey values, or a box of it, to (1, *canvas) in 0..1."""
        name = str(image.meta.get("filename_or_obj", "image"))
        pixels = image[0].numpy()
        left, right, top, bottom = box or (0, pixels.shape[0], 0, pixels.shape[1])
        pixels = pixels[left:right, top:bottom]
        margins = constant_margins(pixels)
        pixels = pixels[margins]
        if min(pixels.shape) < 16:
            raise CaseError(name, "has no content inside its margins", "give a hand radiograph")
        low, high = np.percentile(pixels, [0.5, 99.5])
        if high <= low:
            raise CaseError(name, "shows a single grey value", "give a hand radiograph")
        grey = np.clip((pixels - low) / (high - low), 0, 1)
        canvas, matrix = fit_to_canvas(grey, self.canvas, pixel_sizes(image.affine))
        x, y = covered(pixels.shape, self.canvas, matrix)
        picture = without_bright_corners(canvas[x, y])
        inverted = is_inverted(picture) if self.invert is None else self.invert
        if inverted:  # its white corners are black then, and harm no more
            picture = 1 - canvas[x, y]
        outline = hand_outline(picture)
        if not 0.02 < outline.mean() < 0.95:
            raise CaseError(name, "shows no hand outline", "give a radiograph of one hand")
        if self.match:
            picture = match_histogram(picture, outline, self.reference)
        canvas = np.zeros(self.canvas, dtype=np.float32)
        canvas[x, y] = picture

        offset = np.array([left, top]) + [margin.start for margin in margins]
        to_image = torch.eye(4, dtype=torch.float64)
        to_image[:2, :2] = torch.as_tensor(matrix[:2, :2])
        to_image[:2, 3] = torch.as_tensor(matrix[:2, 2] + offset)
        result = MetaTensor(torch.as_tensor(canvas)[None], meta=dict(image.meta))
        result.affine = image.affine.double() @ to_image
        result.meta["inverted"] = bool(inverted)
        return result
