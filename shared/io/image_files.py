"""Files that hold an image with its grid: NIfTI by nibabel, MHA, MHD, NRRD and others by ITK.

Arrays have the x axis of the file first. Affines map array indices to RAS millimetres, as MONAI has them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import Opener

from ..geometry.frames import lps_to_ras
from .errors import CaseError, one_line
from .file_names import image_suffix

LUMA = np.array([0.299, 0.587, 0.114])  # grey of red, green and blue, ITU-R BT.601
DAMAGED = "copy or export it again"
ITK_FORMATS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO", ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO"}


def read_nifti(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """A NIfTI file.

    Returns:
        array with the scaling of the file applied, as the file stores its axes, in the byte order of this machine,
        trailing axes of size 1 beyond the second left out; affine (4, 4).

    Raises:
        CaseError: when it cannot be read, holds colours or complex numbers, or says a voxel size of 0.
    """
    try:
        image: Any = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise CaseError(path, f"is no whole NIfTI file ({one_line(str(error))[:80]})", DAMAGED) from error
    if array.dtype.kind not in "iufb":
        raise CaseError(path, "holds colours or complex numbers", "give an image of one value per voxel")
    check_nifti_sizes(path, image.header)
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    dtype = np.dtype(np.float32) if array.dtype == np.float64 else array.dtype.newbyteorder("=")
    return array.astype(dtype, copy=False), np.asarray(image.affine, dtype=float)


def check_nifti_sizes(path: str | os.PathLike, header: Any) -> None:
    """Refuse a NIfTI file that has its voxel sizes from "pixdim" alone and says 0 there, which nibabel takes as 1 mm.

    Raises:
        CaseError: with the sizes that the file says.
    """
    if header.get("sform_code", 0) > 0:
        return
    with Opener(str(path)) as file:
        sizes = type(header).from_fileobj(file, check=False)["pixdim"][1:4]
    if not (np.isfinite(sizes) & (sizes != 0)).all():
        shown = " x ".join(f"{size:g}" for size in sizes)
        raise CaseError(path, f"says voxels of {shown} mm", "set their true size, or convert it again from DICOM")


def says_orientation(path: str | os.PathLike) -> bool:
    """Whether a file that could be read says which way its axes run in the patient.

    NIfTI does not where both its codes are 0, and NRRD not where it names no space; MHA always does.
    """
    suffix = image_suffix(Path(path))
    if suffix in (".nii", ".nii.gz"):
        header: Any = nibabel.load(path).header
        return bool(header.get("sform_code", 0) > 0 or header.get("qform_code", 0) > 0)
    if suffix in (".nrrd", ".nhdr"):
        with open(path, "rb") as file:
            head = file.read(4096).split(b"\n\n")[0].lower()
        return b"space directions:" in head and b"space:" in head
    return True


def read_itk(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """An image file in any format that ITK knows, of two or three dimensions.

    Returns:
        array (X, Y[, Z]), trailing axes of size 1 beyond the second left out, the colours of a picture mixed to grey;
        affine (4, 4).

    Raises:
        CaseError: when it cannot be read, has more dimensions or several components per voxel.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK prints its warnings past Python's streams
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(ITK_FORMATS.get(image_suffix(Path(path)), ""))  # which ITK finds by lower-case suffixes alone
    try:
        image = reader.Execute()
    except RuntimeError as error:
        reason = one_line(str(error).split("ERROR:")[-1])[-120:]
        raise CaseError(path, f"is no whole image file ({reason})", DAMAGED) from error
    dims = image.GetDimension()
    if dims > 3:
        raise CaseError(path, f"has {dims} dimensions", "give one image or volume without a time axis")
    affine = np.eye(4)
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) @ np.diag(image.GetSpacing())
    affine[:dims, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image)
    array = np.transpose(array, [*range(dims - 1, -1, -1), *range(dims, array.ndim)])  # components stay last
    if dims == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    components = image.GetNumberOfComponentsPerPixel()
    if components in (3, 4) and array.ndim == 3:
        array = array[..., :3] @ LUMA
    elif components > 1:
        raise CaseError(path, f"holds {components} values per voxel", "give an image of one value per voxel")
    return array, lps_to_ras(affine)


def read_grid(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """:func:`read_nifti` or :func:`read_itk`, after the name of the file."""
    return read_nifti(path) if image_suffix(Path(path)) in (".nii", ".nii.gz") else read_itk(path)


def check_finite(path: str | os.PathLike, array: np.ndarray) -> None:
    """Refuse NaN and infinite values.

    Raises:
        CaseError: with their number.
    """
    if array.dtype.kind == "f" and (bad := array.size - np.isfinite(array).sum()):
        problem = f"holds {bad} of {array.size} values that are NaN or infinite"
        raise CaseError(path, problem, "replace them, in a CT by -1024 (air)")


def check_affine(path: str | os.PathLike, affine: np.ndarray) -> None:
    """Refuse grids that are no right-angled grid of voxels of plausible size.

    Raises:
        CaseError: when the affine (4, 4) is singular, sheared, or has voxels outside 0.001 to 100 mm.
    """
    advice = "repair its header or convert it again from DICOM"
    axes = affine[:3, :3]
    sizes = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or (sizes < 1e-3).any() or (sizes > 100).any():
        shown = " x ".join(f"{size:g}" for size in sizes)
        raise CaseError(path, f"has voxels of {shown} mm", advice)
    cosines = (axes / sizes).T @ (axes / sizes)
    if np.abs(cosines - np.eye(3)).max() > 0.01:
        raise CaseError(path, "has axes that are not at right angles (gantry tilt, perhaps)", advice)
