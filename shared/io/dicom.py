"""Reading DICOM headers and the pixels of single images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .errors import CaseError, one_line
from .image_files import LUMA

try:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder
except ModuleNotFoundError:  # pydicom 2, which MONAI Label needs
    from pydicom.pixel_data_handlers import apply_color_lut, apply_modality_lut, apply_voi_lut  # type: ignore[no-redef]

    get_decoder = None  # type: ignore[assignment]


def read_header(
    path: str | os.PathLike, tags: Sequence[str] | None = None, stop_before_pixels: bool = False
) -> Dataset:
    """A DICOM file, of which only some tags are read where they are given.

    Raises:
        CaseError: when it is not DICOM or is cut off.
    """
    advice = "export it again as DICOM"
    try:
        # Files without the preamble are common; what is no DICOM at all then has none of the tags of an image.
        data = pydicom.dcmread(
            path, force=True, specific_tags=list(tags) if tags else None, stop_before_pixels=stop_before_pixels
        )
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, KeyError, NotImplementedError) as error:
        raise CaseError(path, f"is no whole DICOM file ({one_line(str(error))[:80]})", advice) from error
    if not {"SOPClassUID", "Modality", "Rows", "SeriesInstanceUID"} & set(data.dir()):
        raise CaseError(path, "is no DICOM file, or is cut off", advice)
    return data


def check_single_image(path: str | os.PathLike, data: Dataset) -> None:
    """Refuse DICOM objects without pixels or with several frames.

    Raises:
        CaseError: which of the two it is.
    """
    if "PixelData" not in data or not data.get("Rows"):
        kind = data.get("Modality") or "unknown kind"
        raise CaseError(path, f"holds no pixels (a DICOM object of {kind})", "give the image file itself")
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise CaseError(path, f"holds {frames} frames", "export the one frame to be processed")


def stored_pixels(data: Dataset) -> np.ndarray:
    """Stored values (rows, columns) of a single image, colours mixed to grey; raises whatever its decoder raises."""
    if not data.file_meta.get("TransferSyntaxUID"):  # a file without preamble: its elements tell how they are written
        # pydicom 2 has no original_encoding
        implicit, little = getattr(data, "original_encoding", None) or (data.is_implicit_VR, data.is_little_endian)
        plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
    pixels = data.pixel_array
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, data)
    return pixels @ LUMA if pixels.ndim == 3 else pixels


def lacks_decoder(data: Dataset) -> bool:
    """Whether pydicom has no package at hand that decodes the compression (lossless JPEG, for one)."""
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed:
        return False
    if get_decoder is None:  # pydicom 2 does not say: let ITK try
        return True
    try:
        return not get_decoder(syntax).is_available
    except NotImplementedError:
        return True


def decode_with_itk(path: str | os.PathLike, data: Dataset, reason: Exception) -> np.ndarray:
    """Values (rows, columns) after the modality transform, for compressions that pydicom has no decoder for.

    Raises:
        CaseError: with the reason of the first failure, when the pixels are damaged or ITK cannot decode them either.
    """
    values = np.empty(0)
    if lacks_decoder(data):
        with suppress(RuntimeError):
            values = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).squeeze()
    if values.ndim == 3 and values.shape[-1] == 3:
        values = values @ LUMA
    if values.ndim != 2:
        problem = f"has pixels that cannot be decoded ({one_line(str(reason))[:120]})"
        raise CaseError(path, problem, "export it uncompressed") from reason
    return values


def padding_mask(data: Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Pixels (rows, columns) that the file declares as no part of the picture; None where it declares none."""
    first = data.get("PixelPaddingValue")
    if first is None:
        return None
    last = data.get("PixelPaddingRangeLimit", first)
    mask = (stored >= min(first, last)) & (stored <= max(first, last))
    return mask if mask.any() and not mask.all() else None


def displayed_pixels(path: str | os.PathLike, data: Dataset) -> np.ndarray:
    """Values as a viewer shows them, bright for what absorbs.

    Modality and value-of-interest transforms are applied, MONOCHROME1 is inverted, padding becomes the darkest value.

    Returns:
        (rows, columns) float32.

    Raises:
        CaseError: when there are no pixels, several frames, or pixels that cannot be decoded.
    """
    check_single_image(path, data)
    padding = None
    try:
        stored = stored_pixels(data)
    except Exception as error:  # each decoder raises errors of its own
        values = decode_with_itk(path, data, error)
    else:
        values = apply_modality_lut(stored, data)
        padding = padding_mask(data, stored)
    try:
        shown = apply_voi_lut(values, data).astype(np.float32)
    except (ValueError, AttributeError, TypeError, IndexError):
        shown = values.astype(np.float32)  # a window that contradicts the standard
    inside = shown if padding is None else shown[~padding]
    if np.ptp(inside) == 0:  # a window beside the values would leave nothing to see
        shown = values.astype(np.float32)
        inside = shown if padding is None else shown[~padding]
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        shown, inside = inside.max() + inside.min() - shown, inside.max() + inside.min() - inside
    if padding is not None:
        shown = np.where(padding, inside.min(), shown)
    return shown
