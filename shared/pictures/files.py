"""Pictures in files."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..io.atomic import atomic_path


def save_picture(picture: Image.Image | np.ndarray | Figure, path: str | os.PathLike, dpi: int = 110) -> None:
    """Write a picture as PNG, whole or not at all; the folder is made where it is missing.

    Args:
        picture: of Pillow, uint8 (rows, columns[, 3]), or a figure of matplotlib.
        path: of the file.
        dpi: of a figure.
    """
    with atomic_path(path) as temporary:
        if isinstance(picture, Figure):
            picture.savefig(temporary, format="png", dpi=dpi)
        else:
            (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(temporary, format="png")
