"""Working grids: a known field comes out at the same places, whatever the orientation and spacing of the file."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared.geometry.frames import bounding_grid
from shared.geometry.grids import normalize_hu, to_grid, volume_affine
from shared.geometry.hounsfield import LOWEST_HU

SIZE, SPACING = (40, 50, 30), (1.0, 1.2, 2.0)


def world(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def linear_field(points: np.ndarray) -> np.ndarray:
    return points @ [1.0, 2.0, -1.0]


def ramp(codes: str = "RAS", degrees: float = 0.0) -> MetaTensor:
    """A volume whose values are a linear function of the world position."""
    angle = np.radians(degrees)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [5.0, -7.0, 30.0]
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine
    array = linear_field(world(affine, SIZE))
    transform = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes)))
    turned = nib.orientations.apply_orientation(array, transform)
    affine = affine @ nib.orientations.inv_ornt_aff(transform, SIZE)
    return MetaTensor(
        torch.as_tensor(np.ascontiguousarray(turned), dtype=torch.float32)[None], affine=torch.as_tensor(affine)
    )


@pytest.mark.parametrize("spacing", [0.8, 1.5, 3.0])
@pytest.mark.parametrize(
    ("codes", "degrees"), [("RAS", 0), ("PIR", 0), ("LPS", 0), ("SLA", 0), ("RAS", 15), ("LPS", 40)]
)
def test_values_stay_where_they_are(codes: str, degrees: float, spacing: float) -> None:
    grid = to_grid(ramp(codes, degrees), spacing)
    affine = volume_affine(grid)
    assert np.allclose(affine[:3, :3], np.eye(3) * spacing)
    shape = tuple(grid.shape[1:])
    middle = tuple(slice(int(0.42 * n), int(0.58 * n) + 1) for n in shape)
    expected = linear_field(world(affine, shape))
    assert np.abs(grid[0].numpy() - expected)[middle].max() < 1e-3


@pytest.mark.parametrize("codes", ["PIR", "LAS", "SPL"])
def test_same_grid_from_every_orientation(codes: str) -> None:
    straight, turned = to_grid(ramp(), 1.5), to_grid(ramp(codes), 1.5)
    assert np.allclose(volume_affine(straight), volume_affine(turned), atol=1e-9)
    assert torch.allclose(straight.as_tensor(), turned.as_tensor(), atol=1e-4)


def test_grid_covers_the_outer_corners() -> None:
    affine, size = bounding_grid(volume_affine(ramp("PIR", 25)), (50, 30, 40), 2.0)
    assert all(n > 0 for n in size)
    volume = ramp("RAS")
    affine, size = bounding_grid(volume_affine(volume), SIZE, 2.0)
    first, last = affine[:3, 3] - 1.0, affine[:3, 3] + (np.array(size) - 0.5) * 2.0
    outer = world(volume_affine(volume), SIZE)
    assert (first <= outer.min(axis=(0, 1, 2)) - np.array(SPACING) / 2 + 1e-6).all()
    assert (last >= outer.max(axis=(0, 1, 2)) + np.array(SPACING) / 2 - 1e-6).all()


def test_coarse_grid_keeps_the_mean_of_a_fine_pattern() -> None:
    """Without smoothing, a checkerboard would come out as all dark or all bright."""
    board = torch.as_tensor(np.indices((64, 64, 64)).sum(axis=0) % 2, dtype=torch.float32)[None]
    grid = to_grid(MetaTensor(board, affine=torch.eye(4)), 4.0)
    assert (grid.as_tensor() - 0.5).abs().max() < 0.05


def test_labels_keep_their_numbers_and_type() -> None:
    labels = torch.zeros(1, *SIZE, dtype=torch.uint8)
    labels[:, 10:30, 10:40, 5:25] = 28
    grid = to_grid(MetaTensor(labels, affine=ramp("LPS").affine), 1.5, labels=True)
    assert grid.dtype == torch.uint8 and set(grid.unique().tolist()) == {0, 28}
    volume = float((grid == 28).sum()) * 1.5**3
    assert volume == pytest.approx(20 * 30 * 20 * np.prod(SPACING), rel=0.08)


def test_oblique_image_is_surrounded_by_air() -> None:
    volume = ramp("RAS", 30)
    assert float(to_grid(volume, 2.0)[0, 0, 0, 0]) == pytest.approx(LOWEST_HU)


def test_smoothing_keeps_a_constant_and_blurs_a_step() -> None:
    flat = MetaTensor(torch.full((1, 12, 12, 12), 40.0), affine=torch.eye(4))
    assert torch.allclose(to_grid(flat, 1.0, 1.5).as_tensor(), torch.tensor(40.0), atol=1e-3)
    step = torch.zeros(1, 20, 20, 20)
    step[:, 10:] = 1.0
    plain, smooth = (to_grid(MetaTensor(step, affine=torch.eye(4)), 1.0, sigma)[0, :, 5, 5] for sigma in (0.0, 2.0))
    assert plain.diff().max() == 1.0 and smooth.diff().max() < 0.3


def test_normalized_intensities() -> None:
    hu = torch.tensor([-3000.0, -1024.0, 0.0, 512.0, 5000.0])
    assert normalize_hu(hu).tolist() == [-1.0, -1.0, 0.0, 0.5, 1.0]


def test_tensor_without_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="affine"):
        volume_affine(torch.zeros(1, 2, 2, 2))
