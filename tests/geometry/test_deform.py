import pytest
import torch
from monai.transforms import GaussianSmooth

from shared.geometry.deform import Deformation, bspline_basis, random_controls, sample
from shared.geometry.heatmaps import decode_heatmaps, gaussian_heatmaps


def deformation(dims: int, seed: int = 0) -> Deformation:
    generator = torch.Generator().manual_seed(seed)
    shape = (60, 72) if dims == 2 else (28, 32, 36)
    linear = torch.eye(dims) + 0.15 * (torch.rand(dims, dims, generator=generator) - 0.5)
    shift = torch.rand(dims, 1, generator=generator) * 4
    controls = random_controls(generator, dims, 5, 0.08 * min(shape), shape)
    return Deformation(torch.cat([linear, shift], dim=1), controls, shape)


@pytest.mark.parametrize("dims", [2, 3])
def test_image_and_points_move_together(dims):
    """A blob drawn at a point lies, after the deformation, where the deformed point says."""
    move = deformation(dims)
    inside = torch.tensor(move.output_shape) * 0.5
    targets = inside + (torch.rand(6, dims, generator=torch.Generator().manual_seed(1)) - 0.5) * 0.4 * inside
    sources = move.to_input(targets)
    images = gaussian_heatmaps(sources[None], tuple(s + 12 for s in move.output_shape), 1.5)[0]
    moved = move.apply(images)
    found, peaks = decode_heatmaps(moved[None])
    assert peaks.min() > 0.6
    assert (found[0] - targets).abs().max() < 0.35
    assert (move.to_output(sources) - targets).abs().max() < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_grid_equals_points(dims):
    move = deformation(dims)
    grid = move.grid()
    index = tuple(size // 3 for size in move.output_shape)
    assert torch.allclose(grid[index], move.to_input(torch.tensor(index)[None].float())[0], atol=1e-4)


def test_seeded_and_smooth():
    first, second, other = deformation(2), deformation(2), deformation(2, seed=5)
    assert torch.equal(first.grid(), second.grid()) and not torch.equal(first.grid(), other.grid())
    jumps = first.grid().diff(dim=0).diff(dim=0)
    assert jumps.abs().max() < 0.1  # a cubic spline has no kinks


def test_absent_points_stay_absent():
    points = torch.tensor([[float("nan"), float("nan")], [20.0, 30.0]])
    moved = deformation(2).to_output(points)
    assert moved[0].isnan().all() and moved[1].isfinite().all()


def test_without_controls_it_is_affine():
    matrix = torch.tensor([[0.5, 0.0, 3.0], [0.0, 2.0, -1.0]])
    move = Deformation(matrix, None, (10, 12))
    assert torch.allclose(move.to_input(torch.tensor([[2.0, 4.0]])), torch.tensor([[4.0, 7.0]]))
    assert torch.allclose(move.to_output(torch.tensor([[4.0, 7.0]])), torch.tensor([[2.0, 4.0]]))


def test_folding_displacements_are_refused():
    with pytest.raises(ValueError, match="fold"):
        random_controls(torch.Generator(), 2, 5, 10.0, (40, 40))


def test_basis_is_a_partition_of_unity_and_reproduces_lines():
    positions = torch.linspace(0, 59, 121, dtype=torch.float64)
    basis = bspline_basis(positions, 60, 8)
    assert torch.allclose(basis.sum(dim=1), torch.ones(121, dtype=torch.float64))
    controls = torch.arange(8, dtype=torch.float64)
    assert torch.allclose(basis @ controls, positions / 59 * 5 + 1)


def test_sample_reads_array_indices():
    image = GaussianSmooth(1.0)(torch.rand(1, 9, 11)).contiguous()
    grid = torch.tensor([[[2.0, 7.0], [8.0, 10.0]]])
    values = sample(image[None], grid[None])[0, 0, 0]
    assert torch.allclose(values, torch.stack([image[0, 2, 7], image[0, 8, 10]]), atol=1e-5)
