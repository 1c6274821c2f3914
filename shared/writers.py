"""Image writers for MONAI's SaveImage that never leave a half-written file."""

from __future__ import annotations

import os
from typing import Any

from monai.data import NibabelWriter
from monai.data.image_writer import ITKWriter

from .cases import atomic_path


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
