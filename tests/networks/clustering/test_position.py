"""Voxel positions and their Fourier features."""

from __future__ import annotations

import math

import pytest
import torch

from shared.networks.clustering.position import PositionEncodingModule, grid_positions


def test_cells_tile_the_cube_and_z_varies_fastest() -> None:
    positions = grid_positions((2, 4, 5))
    assert positions.shape == (40, 3)
    assert torch.allclose(positions.mean(0), torch.zeros(3), atol=1e-6)
    assert torch.allclose(positions[0], torch.tensor([-0.5, -0.75, -0.8]))
    assert torch.allclose(positions[1] - positions[0], torch.tensor([0.0, 0.0, 0.4]))


def test_features_are_those_of_the_formula() -> None:
    module = PositionEncodingModule(num_freq_bands=3, d_model=5)
    x, y, z = 0.3, -0.7, 0.11
    angles = [2**k * math.pi * v for v in (x, y, z) for k in range(3)]
    expected = torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    assert torch.allclose(module.fourier(torch.tensor([x, y, z])), expected, atol=1e-5)
    assert module(torch.zeros(2, 7, 3)).shape == (2, 7, 5)


def test_every_cell_of_a_grid_has_an_encoding_of_its_own() -> None:
    features = PositionEncodingModule(4, 8).fourier(grid_positions((4, 4, 4)))
    apart = torch.cdist(features, features) + 9 * torch.eye(len(features))
    assert float(apart.min()) > 0.5


def test_no_band_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        PositionEncodingModule(0)
