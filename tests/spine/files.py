"""CTs of arrays in the formats that the pipeline reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from shared.io.itk_images import to_sitk


def write_nifti(array: np.ndarray, affine: np.ndarray, folder: Path, case: str = "case") -> Path:
    nib.save(nib.Nifti1Image(array, affine), folder / f"{case}.nii.gz")
    return folder / f"{case}.nii.gz"


def write_by_itk(suffix: str) -> Callable[..., Path]:
    def write(array: np.ndarray, affine: np.ndarray, folder: Path, case: str = "case") -> Path:
        sitk.WriteImage(to_sitk(array, affine), str(folder / f"{case}{suffix}"))
        return folder / f"{case}{suffix}"

    return write


def write_dicom(array: np.ndarray, affine: np.ndarray, folder: Path, case: str = "case") -> Path:
    """An axial series, slices from foot to head."""
    image = to_sitk(array, affine)
    series = folder / case
    series.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    for index in range(image.GetSize()[2]):
        slice_ = image[:, :, index]
        tags = {
            "0008|0060": "CT",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.1",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.2",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.3.{index + 1}",
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(f"{v:.4f}" for v in image.TransformIndexToPhysicalPoint((0, 0, index))),
            "0020|0037": "\\".join(str(direction[i]) for i in (0, 3, 6, 1, 4, 7)),
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(series / f"{index:04d}.dcm"))
        writer.Execute(slice_)
    return series
