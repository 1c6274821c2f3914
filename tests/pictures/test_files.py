"""Pictures are whole or absent, whatever made them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from shared.pictures.files import save_picture


def test_pictures_of_every_kind_come_back(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    for name, picture in {"array": pixels, "pillow": Image.fromarray(pixels)}.items():
        save_picture(picture, tmp_path / "new" / f"{name}.png")
        assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / f"{name}.png")), pixels)
    save_picture(Figure(figsize=(2, 1)), tmp_path / "figure.png", dpi=50)
    assert Image.open(tmp_path / "figure.png").size == (100, 50)


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path):
    save_picture(np.zeros((2, 2), np.uint8), tmp_path / "a.png")
    figure = Figure()
    figure.add_subplot().set_title(r"$\no$")  # an unknown symbol
    with pytest.raises(ValueError):
        save_picture(figure, tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (2, 2) and len(list(tmp_path.iterdir())) == 1
