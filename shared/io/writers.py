"""Image writers for MONAI's SaveImage that never leave a half-written file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import NibabelWriter
from monai.data.image_writer import ITKWriter
from monai.utils import convert_to_numpy

from .atomic import atomic_path
from .cases import image_suffix
from .itk_images import to_sitk, write_image


class AtomicNibabelWriter(NibabelWriter):
    """NIfTI, written to a temporary name and renamed."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **kwargs: Any) -> None:
        with atomic_path(filename) as path:
            super().write(path, verbose=verbose, **kwargs)


class AtomicITKWriter(ITKWriter):
    """Every format of ITK (NRRD, MHA …), written to a temporary name and renamed."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **kwargs: Any) -> None:
        with atomic_path(filename) as path:
            super().write(path, verbose=verbose, **kwargs)


class AtomicVolumeWriter(AtomicNibabelWriter):
    """NIfTI, and by its suffix any other format that SimpleITK writes (NRRD, MHA), under a temporary name first."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **kwargs: Any) -> None:
        if image_suffix(Path(filename)) in (".nii", ".nii.gz"):
            super().write(filename, verbose=verbose, **kwargs)
            return
        array = np.asarray(convert_to_numpy(self.data_obj, dtype=self.output_dtype))
        write_image(to_sitk(array, np.asarray(self.affine, dtype=float)), filename)
