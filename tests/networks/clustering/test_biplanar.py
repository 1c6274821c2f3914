"""The two cameras, and lifting: what an X-ray shows is found again where it is in space."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from shared.drr.geometry import project_points
from shared.drr.rendering import render
from shared.networks.clustering import BiplanarGeometry, BiplanarLifting, normalized_projection, volume_affine

SIZE, VOXEL_MM = (8, 10, 12), 20.0
GEOMETRY = BiplanarGeometry(rows=48, columns=40, pixel_mm=8.0, sdd_mm=1200.0, source_to_isocenter_mm=1000.0)
GEOMETRIES = [
    GEOMETRY,
    dataclasses.replace(GEOMETRY, frontal="AP", lateral="right"),
    dataclasses.replace(GEOMETRY, parallel=True, pixel_mm=6.0),
]


def pixels(geometry: BiplanarGeometry, *point: float) -> torch.Tensor:
    """(2, 2) = (u, v) of a point [RAS mm] in both views, relative to the middle of the image."""
    middle = torch.tensor([(geometry.columns - 1) / 2, (geometry.rows - 1) / 2], dtype=torch.float64)
    points = torch.tensor([point], dtype=torch.float64)
    return project_points(points, geometry.poses(), geometry.detector())[:, 0] - middle


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_images_are_shown_as_radiologists_read_them(geometry: BiplanarGeometry) -> None:
    assert pixels(geometry, 0, 0, 0).abs().max() < 1e-6
    assert pixels(geometry, 50, 0, 0)[0, 0] < -1  # patient's right: left of the frontal image
    assert pixels(geometry, 0, 50, 0)[1, 0] < -1  # the front: left of the lateral image
    assert (pixels(geometry, 0, 0, 50)[:, 1] < -1).all()  # the head: up
    assert pixels(geometry, 0, 50, 0)[0].abs().max() < 1e-6


def test_what_is_far_from_the_detector_is_magnified() -> None:
    """PA: the back faces the source; left lateral: so does the right side."""
    heights = {side: pixels(GEOMETRY, *side, 50)[:, 1].abs() for side in [(0, -80), (0, 80), (80, 0), (-80, 0)]}
    assert heights[0, -80][0] > heights[0, 80][0] + 0.1
    assert heights[80, 0][1] > heights[-80, 0][1] + 0.1
    parallel = GEOMETRIES[2]
    assert pixels(parallel, 0, -80, 50)[0, 1] == pytest.approx(-50 / 6, abs=0.01)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_normalized_projection_agrees_with_pixels(geometry: BiplanarGeometry) -> None:
    points = torch.tensor([[30.0, -20.0, 50.0, 1.0], [-7.0, 60.0, -33.0, 1.0]])
    u, v, depth = (geometry.projections() @ points.T).unbind(1)
    expected = project_points(points[:, :3].double(), geometry.poses(), geometry.detector())
    found = torch.stack([(u / depth + 1) * geometry.columns / 2, (v / depth + 1) * geometry.rows / 2], -1) - 0.5
    assert torch.allclose(found.double(), expected, atol=2e-2 if geometry.parallel else 1e-4)


def test_normalized_projection_does_not_depend_on_resolution() -> None:
    coarse = normalized_projection(GEOMETRY.poses(), GEOMETRY.detector().resized(12, 10))
    assert torch.allclose(coarse, GEOMETRY.projections(), atol=1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("voxel", [(1, 7, 3), (6, 2, 9)])
def test_a_rendered_voxel_is_found_again(geometry: BiplanarGeometry, voxel: tuple[int, int, int]) -> None:
    """Both views of one bright voxel, lifted and multiplied, are brightest in that voxel."""
    volume = torch.zeros(1, *SIZE)
    volume[(0, *voxel)] = 1.0
    images = render(volume, geometry.poses(), geometry.detector(), volume_affine(SIZE, VOXEL_MM))
    lifting = BiplanarLifting(SIZE, [length * VOXEL_MM for length in SIZE])
    lifted = lifting(images[:1], images[1:], geometry.projections()[None])
    assert lifted.shape == (1, 2, *SIZE)
    assert int(lifted.prod(dim=1).argmax()) == int(volume.argmax())
    for view in range(2):  # each alone is as bright all along its ray
        assert int((lifted[0, view] > 0.3 * lifted[0, view].max()).sum()) > 3


def test_each_case_may_have_views_of_its_own() -> None:
    lifting = BiplanarLifting((4, 4, 4), (160, 160, 160))
    maps = torch.rand(2, 3, 12, 10)
    projections = torch.stack([geometry.projections() for geometry in GEOMETRIES[:2]])
    together = lifting(maps, maps, projections)
    for case in range(2):
        alone = lifting(maps[case : case + 1], maps[case : case + 1], projections[case : case + 1])
        assert torch.allclose(together[case], alone[0], atol=1e-6)
    assert not torch.allclose(together[0], lifting(maps, maps, projections.flip(0))[0])


def test_cells_that_no_pixel_sees_are_zero() -> None:
    lifting = BiplanarLifting((3, 1, 1), (3000, 10, 10))  # the outer cells are off the detector, or behind the source
    lifted = lifting(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8), GEOMETRY.projections()[None])
    assert lifted[0, 0, :, 0, 0].tolist() == [0, 1, 0]
    assert lifted[0, 1, 2, 0, 0] == 1  # straight behind the middle of the lateral image … on the source's axis
    behind = BiplanarLifting((1, 2, 1), (10, 4000, 10))
    assert behind.lift(torch.ones(1, 1, 8, 8), GEOMETRY.projections()[:1]).flatten().tolist() == [1, 0][::-1]


def test_impossible_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="between source and detector"):
        BiplanarGeometry(sdd_mm=1000, source_to_isocenter_mm=1100)
    with pytest.raises(ValueError, match="'PA' or 'AP'"):
        BiplanarGeometry(frontal="lateral")
