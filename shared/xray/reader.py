"""Radiographs from PNG, JPEG, BMP, TIFF, DICOM, NIfTI, MHA and NRRD as one kind of image."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from PIL import Image, ImageOps, UnidentifiedImageError

from ..geometry.frames import lps_to_ras
from ..io.dicom import displayed_pixels, read_header
from ..io.errors import CaseError
from ..io.file_names import VOLUME_SUFFIXES, image_suffix, is_dicom, single_path
from ..io.image_files import LUMA, check_finite, read_grid
from .header import Header, modality_problem
from .pixel_size import PixelSize, contradiction, header_pixel_size, on_detector
from .side_car import read_side_car

MIN_SIZE, MAX_ASPECT = 32, 10.0
EXIF_ORIENTATION = 274
# A grey picture may bear coloured marks; a photograph or a screenshot of a viewer is full of colour.
MAX_COLOURED = 0.05


@dataclass
class Radiograph:
    """A radiograph as read.

    Attributes:
        pixels: (X, Y) float32, upright.
        file_affine: (4, 4), indices of the file (column, row) to RAS mm, 1 mm a pixel where the size is not known.
        to_file: (4, 4), indices of ``pixels`` to indices of the file; differs from the identity where EXIF says that
            the file is to be turned for display.
        pixel_size: of the pixels of ``pixels``, None where the file does not say it.
        photometric: photometric interpretation of a DICOM or TIFF file, "MONOCHROME2" for others.
        orientation: "header" where the file says how it is to be turned (EXIF), else "unknown".
        warnings: what the file says but cannot be right.
    """

    pixels: np.ndarray
    file_affine: np.ndarray
    to_file: np.ndarray
    pixel_size: PixelSize | None = None
    photometric: str = "MONOCHROME2"
    orientation: str = "unknown"
    warnings: list[str] = field(default_factory=list)


def plain_affine(spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """(4, 4) of an image without a place in the patient: x grows to the left, y to the back, like ITK reads a PNG."""
    return lps_to_ras(np.diag([*spacing, 1.0, 1.0]))


def exif_matrix(orientation: int, shape: tuple[int, ...]) -> np.ndarray:
    """Indices of the upright image to indices of the file.

    Args:
        orientation: EXIF tag 274, 1 to 8.
        shape: (X, Y) of the upright image.

    Returns:
        (4, 4).
    """
    swap = orientation >= 5
    matrix = np.eye(4)
    if swap:
        matrix[[0, 1]] = matrix[[1, 0]]
    sizes = shape[::-1] if swap else shape
    for axis, flips in enumerate(((2, 3, 7, 8), (3, 4, 6, 7))):
        if orientation in flips:
            matrix[axis] *= -1
            matrix[axis, 3] = sizes[axis] - 1
    return matrix


def coloured_fraction(values: np.ndarray) -> float:
    """Fraction of the pixels of (rows, columns, 3) in 0..255 that are clearly no shade of grey."""
    return float((np.ptp(values, axis=-1) > 40).mean())


def read_picture(path: str | os.PathLike) -> Radiograph:
    """A PNG, JPEG, BMP or TIFF file, of one channel or of three that hold grey; transparency is dropped.

    Raises:
        CaseError: when it is no image, is cut off, has several pages, is absurdly large or a colour picture.
    """
    advice = "export the radiograph again as PNG, JPEG or DICOM"
    try:
        # From memory: Pillow maps uncompressed TIFF files, and scrambles those that EXIF lays on their side.
        with Image.open(io.BytesIO(Path(path).read_bytes())) as image:
            if (pages := getattr(image, "n_frames", 1)) > 1:
                raise CaseError(path, f"holds {pages} pages", "export the one image to be processed")
            orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
            white_is_zero = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(262) == 0
            image.load()  # TIFF is turned upright here
            upright = ImageOps.exif_transpose(image)
            if upright.mode not in ("L", "F") and not upright.mode.startswith("I"):
                upright = upright.convert("RGB" if upright.mode not in ("1", "LA", "La") else "L")
            values = np.asarray(upright, dtype=np.float32)
    except UnidentifiedImageError as error:
        raise CaseError(path, "is no image", advice) from error
    except Image.DecompressionBombError as error:
        raise CaseError(path, "has too many pixels for a radiograph", advice) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise CaseError(path, f"is cut off or damaged ({error})", advice) from error
    if values.ndim == 3:
        if coloured_fraction(values) > MAX_COLOURED:
            raise CaseError(path, "is a colour picture of three channels", "give a radiograph in shades of grey")
        values = values @ LUMA.astype(np.float32)
    pixels = np.ascontiguousarray(values.T)
    if white_is_zero:  # Pillow turns 8-bit files of this kind, but not 16-bit ones
        pixels = pixels.max() + pixels.min() - pixels
    turned = 1 < orientation <= 8
    return Radiograph(
        pixels,
        plain_affine(),
        exif_matrix(orientation if turned else 1, pixels.shape),
        photometric="MONOCHROME1" if white_is_zero else "MONOCHROME2",
        orientation="header" if turned else "unknown",
    )


def read_dicom_xray(path: str | os.PathLike) -> Radiograph:
    """A DICOM radiograph of one frame.

    Raises:
        CaseError: when it holds no pixels, several frames, or a slice of a volume.
    """
    data = read_header(path)
    if "PixelData" in data and (problem := modality_problem(path, data)) is not None:
        raise problem
    pixels = displayed_pixels(path, data).T
    header = Header(data)
    size = header_pixel_size(header)
    return Radiograph(
        np.ascontiguousarray(pixels, dtype=np.float32),
        plain_affine(),
        np.eye(4),
        size,
        str(data.get("PhotometricInterpretation", "MONOCHROME2")),
        warnings=header.warnings,
    )


def read_grid_xray(path: str | os.PathLike) -> Radiograph:
    """A NIfTI, MHA or NRRD file of one slice, with its axes as stored.

    A pixel size of exactly 1 x 1 mm is what converters write when they know none, and is taken as unknown. Axes may lie
    anywhere in space: the size of a pixel is the length of its axis.

    Raises:
        CaseError: when it holds a volume.
    """
    array, affine = read_grid(path)
    thin = [axis for axis, size in enumerate(array.shape) if size == 1]
    if array.ndim == 3 and thin:
        axes = [axis for axis in range(3) if axis != thin[0]]
        array, affine = array.squeeze(thin[0]), affine[:, [*axes, thin[0], 3]]
    if array.ndim != 2:
        shape = " x ".join(map(str, array.shape))
        raise CaseError(path, f"is a volume of {shape}", "give a single radiograph")
    sizes = np.linalg.norm(affine[:3, :2], axis=0)
    known = bool(np.isfinite(sizes).all() and (sizes > 1e-3).all() and not np.allclose(sizes, 1, atol=1e-6))
    if abs(np.linalg.det(affine)) < 1e-9 or not np.isfinite(affine).all():
        affine = plain_affine()
    pixels = np.ascontiguousarray(array, dtype=np.float32)
    size = on_detector((float(sizes[0]), float(sizes[1])), "file") if known else None
    return Radiograph(pixels, affine, np.eye(4), size)


def read_file(path: str | os.PathLike) -> Radiograph:
    """A radiograph of any format as its file describes it.

    Raises:
        CaseError: when it is no radiograph.
    """
    path = Path(path)
    if image_suffix(path) in VOLUME_SUFFIXES:
        return read_grid_xray(path)
    return read_dicom_xray(path) if is_dicom(path) else read_picture(path)


def read_radiograph(path: str | os.PathLike, min_size: int = MIN_SIZE, max_aspect: float = MAX_ASPECT) -> Radiograph:
    """A radiograph of any format with the values that a viewer shows, and the pixel size of its side car or its header.

    Raises:
        CaseError: for everything that is no single, whole, non-blank radiograph.
    """
    found = read_file(path)
    check_radiograph(path, found.pixels, min_size, max_aspect)
    columns, rows = found.pixels.shape
    if (beside := read_side_car(path, (rows, columns))) is not None:
        told = None if found.pixel_size is None else found.pixel_size.detector_mm
        found.warnings += contradiction("pixel size", beside.detector_mm, told, beside.path.name)
        found.pixel_size = on_detector(beside.detector_mm, "side car", beside.magnification)
    if found.pixel_size is not None and image_suffix(Path(path)) not in VOLUME_SUFFIXES:
        across, down = np.abs(found.to_file[:2, :2]) @ found.pixel_size.mm  # EXIF may exchange rows and columns
        found.file_affine = plain_affine((float(across), float(down)))
    return found


def check_radiograph(
    path: str | os.PathLike, pixels: np.ndarray, min_size: int = MIN_SIZE, max_aspect: float = MAX_ASPECT
) -> None:
    """Refuse what cannot be a radiograph, of whatever part of the body.

    Args:
        path: for the message.
        pixels: (X, Y).
        min_size: pixels along the shorter side.
        max_aspect: longer side over shorter side.

    Raises:
        CaseError: NaN or infinite values, too small, too long, or (nearly) a single grey value.
    """
    width, height = pixels.shape
    advice = "give a whole radiograph"
    if min(pixels.shape) < min_size:
        raise CaseError(path, f"has {width} x {height} pixels, fewer than {min_size} on a side", advice)
    if max(pixels.shape) > max_aspect * min(pixels.shape):
        raise CaseError(path, f"has {width} x {height} pixels, more than {max_aspect:g} times as long as wide", advice)
    check_finite(path, pixels)
    spread = float(np.ptp(pixels))
    # Integers in steps of 1 can be all but constant (a blank page through JPEG); fractions have no such step.
    if spread == 0 or (spread < 4 and np.array_equal(pixels, np.round(pixels))):
        raise CaseError(path, f"is blank, all its pixels are about {pixels.flat[0]:g}", advice)


class XrayReader(ImageReader):
    """MONAI reader of a single radiograph: ``LoadImaged("image", reader=XrayReader())``.

    The array is (X, Y) float32 with any grey values, x the column; what absorbs is bright where the file says how it is
    to be shown (MONOCHROME1 is inverted). The metadata hold, besides MONAI's own:

    - ``affine`` and ``original_affine`` (4, 4) in RAS mm: ``inverse(original_affine) @ affine`` maps array indices to
      (column, row) of the file, also when EXIF turns the picture; 1 mm a pixel where the size is not known;
    - ``intake``: a JSON text of ``pixel_size`` (see :mod:`shared.xray.pixel_size`, null where unknown), ``orientation``
      and ``warnings``; a text, because MONAI cannot collate None; ``photometric``.

    Args:
        min_size: pixels that the shorter side has to have.
        max_aspect: how many times the longer side may be as long as the shorter one.

    Raises:
        CaseError: from :meth:`get_data`, for everything that is no single, whole, non-blank radiograph.
    """

    def __init__(self, min_size: int = MIN_SIZE, max_aspect: float = MAX_ASPECT) -> None:
        super().__init__()
        self.min_size, self.max_aspect = min_size, max_aspect

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> Path:
        """The path itself: MONAI drops errors of this method and tries its other readers."""
        return single_path(data)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        radiograph = read_radiograph(img, self.min_size, self.max_aspect)
        pixels = radiograph.pixels
        file_corner = radiograph.to_file[:2, :2] @ pixels.shape  # its signs are those of the turn
        size = radiograph.pixel_size
        intake = {
            "pixel_size": None if size is None else size.content(),
            "orientation": radiograph.orientation,
            "warnings": radiograph.warnings,
        }
        return pixels, {
            "affine": radiograph.file_affine @ radiograph.to_file,
            "original_affine": radiograph.file_affine,
            "spatial_shape": np.abs(file_corner).astype(int),
            "original_channel_dim": float("nan"),
            "space": "RAS",
            "photometric": radiograph.photometric,
            "intake": json.dumps(intake),
        }
