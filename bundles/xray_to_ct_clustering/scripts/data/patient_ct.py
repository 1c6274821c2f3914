"""CTs in the form of X2CT-GAN: patient axes, table removed, a cube around the middle of the patient.

X2CT-GAN (Ying et al., CVPR 2019) resamples to 1 mm, removes the table, crops or pads to 320³ and scales to N³. Volumes
here are arrays (X, Y, Z) along right, anterior, superior, whose isocentre (world origin) is the middle of the cube.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor

from ..hounsfield import SKIN_FROM_HU
from ..shared.geometry.hounsfield import AIR_HU
from ..shared.io.errors import CaseError
from ..shared.io.itk_images import covering_grid, read_image, resample, to_sitk

EXTENT_MM = 320.0  # edge of the cube
BRIDGE_MM = 7.5  # connections between body and table that are thinner are cut
LEAST_EXTENT_MM = 60.0  # of a CT, along every axis


@dataclass(frozen=True)
class PatientCT:
    """A patient's CT as it is trained on.

    Attributes:
        case: name.
        hu: int16 (X, Y, Z), the table replaced by air.
        spacing_mm: edge of a voxel.
        middle: (3,) continuous voxel index of the isocentre: middle of the body along x and y, of the scan along z.
        labels: uint8 (X, Y, Z), regions of the patient, 0 elsewhere; None where there is no label map.
    """

    case: str
    hu: Tensor
    spacing_mm: float
    middle: tuple[float, float, float]
    labels: Tensor | None = None


def body_mask(hu: np.ndarray, spacing_mm: float) -> np.ndarray:
    """The patient without the table, bool (X, Y, Z), lungs and bowel filled; all False where there is no body.

    The largest piece that is left when thin bridges are cut, in its own shape again, filled slice by slice.
    """
    dense = hu > SKIN_FROM_HU
    depth = ndimage.distance_transform_edt(dense) * spacing_mm
    pieces, count = ndimage.label(depth > BRIDGE_MM / 2)
    if not count:
        return np.zeros_like(dense)
    largest = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    near = ndimage.distance_transform_edt(~largest) * spacing_mm <= BRIDGE_MM / 2 + spacing_mm
    body = dense & near
    for z in range(body.shape[2]):
        body[:, :, z] = ndimage.binary_fill_holes(body[:, :, z])
    return body


def without_table(hu: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """HU with air outside of the body, and the body (X, Y, Z) bool."""
    body = body_mask(hu, spacing_mm)
    skin = ndimage.binary_dilation(body, iterations=max(1, round(2.5 / spacing_mm)))  # keeps the edge's partial volume
    return np.where(skin, hu, AIR_HU), body


def patient_array(image: sitk.Image, spacing_mm: float) -> np.ndarray:
    """HU float32 (X, Y, Z) of cubic voxels along right, anterior, superior, around the whole of an image."""
    array = sitk.GetArrayFromImage(resample(image, covering_grid(image, spacing_mm), fill=AIR_HU)).T
    return array[::-1, ::-1].copy()  # the grid runs to the left and to the back


def make_patient(image: sitk.Image, case: str, spacing_mm: float) -> PatientCT:
    """A patient of a CT in HU on any grid.

    Raises:
        CaseError: where the CT is too small or holds no body.
    """
    hu = patient_array(image, spacing_mm)
    if min(hu.shape) * spacing_mm < LEAST_EXTENT_MM:
        size = " x ".join(f"{length * spacing_mm:.0f}" for length in hu.shape)
        raise CaseError(
            case, f"covers {size} mm alone", f"give CTs of at least {LEAST_EXTENT_MM:.0f} mm along each axis"
        )
    hu, body = without_table(hu, spacing_mm)
    if not body.any():
        raise CaseError(case, "holds no body (nothing is denser than air)", "give a CT in Hounsfield units")
    sides = [np.flatnonzero(body.any(axis=axes)) for axes in ((1, 2), (0, 2))]
    x, y = ((side[0] + side[-1]) / 2 for side in sides)
    values = torch.from_numpy(np.clip(np.rint(hu), -1024, 3071).astype(np.int16))
    return PatientCT(case, values, spacing_mm, (float(x), float(y), (hu.shape[2] - 1) / 2))


def read_patient(
    path: str | os.PathLike, case: str, spacing_mm: float, labels_path: str | os.PathLike | None = None
) -> PatientCT:
    """A patient of a file or DICOM folder, perhaps with the label map of a file in the same world.

    Raises:
        CaseError: as `make_patient` and the reader, or where the labels are not whole numbers from 0 to 255.
    """
    image = read_image(path)
    patient = make_patient(image, case, spacing_mm)
    if labels_path is None:
        return patient
    return dataclasses.replace(patient, labels=torch.from_numpy(read_labels(labels_path, image, spacing_mm)))


def read_labels(path: str | os.PathLike, image: sitk.Image, spacing_mm: float) -> np.ndarray:
    """Label map uint8 (X, Y, Z) of a file on the grid of `patient_array`."""
    labels = read_image(path)
    grid = covering_grid(image, spacing_mm)
    array = sitk.GetArrayFromImage(resample(labels, grid, fill=0, labels=True)).T[::-1, ::-1]
    if array.min() < 0 or array.max() > 255 or np.any(array != np.rint(array)):
        raise CaseError(path, "is no label map", "give whole numbers from 0 to 255")
    return np.ascontiguousarray(array, dtype=np.uint8)


def cube(patient: PatientCT, size: int, shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """HU float32 (size, size, size) of the patient's voxels around its isocentre, air beyond the scan.

    Args:
        patient: the CT.
        size: voxels of the edge.
        shift_mm: of the cube against the isocentre, along x, y, z.
    """
    array, middle = patient.hu.float(), patient.middle
    offset = [m + s / patient.spacing_mm - (size - 1) / 2 for m, s in zip(middle, shift_mm, strict=True)]
    moved = ndimage.affine_transform(
        array.numpy(), np.eye(3), offset=offset, output_shape=(size,) * 3, order=1, cval=AIR_HU, prefilter=False
    )
    return torch.from_numpy(moved)


def cube_labels(patient: PatientCT, size: int) -> Tensor:
    """Labels uint8 (size, size, size) of the voxels of `cube`, 0 beyond the scan and without a label map."""
    if patient.labels is None:
        return torch.zeros((size,) * 3, dtype=torch.uint8)
    offset = [m - (size - 1) / 2 for m in patient.middle]
    moved = ndimage.affine_transform(
        patient.labels.numpy(), np.eye(3), offset=offset, output_shape=(size,) * 3, order=0, prefilter=False
    )
    return torch.from_numpy(moved)


def thinned(labels: Tensor, factor: int) -> Tensor:
    """Labels (X / f, Y / f, Z / f) of the voxel in the middle of each cube of f³ voxels."""
    return labels[factor // 2 :: factor, factor // 2 :: factor, factor // 2 :: factor]


def pooled(hu: Tensor, factor: int) -> Tensor:
    """Means (X / f, Y / f, Z / f) over cubes of f³ voxels of HU (X, Y, Z)."""
    return torch.nn.functional.avg_pool3d(hu[None, None].float(), factor)[0, 0]


def phantom_image(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """A phantom's array and affine as the image that `make_patient` takes."""
    return to_sitk(array.astype(np.int16), affine)
