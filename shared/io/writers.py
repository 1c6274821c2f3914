"""Volumes to files, whole or not at all: an array as NIfTI, the result of a case in the format of its input."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import DtypeLike, KeysCollection
from monai.data import ITKWriter, NibabelWriter
from monai.transforms import SaveImaged
from monai.utils import convert_to_numpy
from numpy.typing import ArrayLike
from torch import Tensor

from .atomic import atomic_path
from .file_names import image_suffix

# Of a result by that of its input; NIfTI for every other.
FORMATS = {".nrrd": ".nrrd", ".nhdr": ".nrrd"}


def write_nifti(values: np.ndarray | Tensor, affine: ArrayLike | Tensor, path: str | os.PathLike) -> None:
    """Write an array (X, Y, Z[, C]) as NIfTI in the patient's RAS mm, whole or not at all.

    Args:
        values: of the type in which they are stored.
        affine: (4, 4), indices to RAS mm.
        path: ends with ``.nii`` or ``.nii.gz``; its folder is made where it is missing.
    """
    matrix = np.asarray(convert_to_numpy(affine), dtype=float)
    image = nibabel.Nifti1Image(convert_to_numpy(values), matrix)
    image.set_qform(matrix, 1)
    image.set_sform(matrix, 1)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


class AtomicVolumeWriter(NibabelWriter):
    """NIfTI, and by its suffix any other format of MONAI's ITKWriter (NRRD, MHA), under a temporary name first."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **kwargs: Any) -> None:
        with atomic_path(filename) as path:
            if image_suffix(path) in (".nii", ".nii.gz"):
                super().write(path, verbose=verbose, **kwargs)
                return
            writer = ITKWriter(output_dtype=self.output_dtype)
            writer.set_data_array(self.data_obj, channel_dim=None)
            writer.set_metadata({"affine": self.affine}, resample=False)
            writer.write(path, verbose=verbose, compression=True)


class SaveCased(SaveImaged):
    """Last transform of every postprocessing: writes ``<output_dir>/<case>_<output_postfix><output_ext>``.

    MONAI names files after the file that an image was read from, cuts off what follows the last dot and lets
    ``p1/ct.nii.gz`` and ``p2/ct.nii.gz`` overwrite each other. The name of the case is unique in its batch. MONAI Label
    leaves this transform out, as it does with every ``SaveImaged``.

    Args:
        keys: image (C, X, Y[, Z]) with its affine.
        output_dir: folder.
        output_postfix: what the image is.
        output_dtype: of the values in the file.
        output_ext: suffix; "input" for NRRD where the image comes from such a file, and else NIfTI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike,
        output_postfix: str,
        output_dtype: DtypeLike = "uint8",
        output_ext: str = ".nii.gz",
    ) -> None:
        super().__init__(
            keys, output_dtype=output_dtype, output_ext="", resample=False, print_log=False, writer=AtomicVolumeWriter
        )
        self.output_dir, self.postfix, self.suffix = Path(str(output_dir)), output_postfix, output_ext

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            image, suffix = output[key], self.suffix
            if suffix == "input":
                suffix = FORMATS.get(image_suffix(Path(str(image.meta.get("filename_or_obj", "")))), ".nii.gz")
            self.saver(image, filename=self.output_dir / f"{output['case']}_{self.postfix}{suffix}")
        return output
