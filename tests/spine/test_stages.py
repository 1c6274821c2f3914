"""The three stages with networks that read the truth out of the image: what is put in is found again, anywhere."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from bundles.vertebrae_segmentation.scripts.inferer import CropInferer
from bundles.vertebrae_segmentation.scripts.merging import merge_vertebrae
from bundles.vertebrae_segmentation.scripts.vertebra_crops import vertebra_inputs
from shared.engines.patches import tile_starts
from shared.geometry.frames import ras_to_lps
from shared.io.errors import CaseError
from shared.io.itk_images import place_image, resample, to_sitk
from shared.phantoms.torso.phantom import TorsoPhantom
from shared.spine.candidates import Candidate
from shared.spine.ct_check import ct_warnings
from shared.spine.spine_stage import SpineRegion, SpineStage, near_midline, spine_region
from shared.spine.vertebra_stage import VertebraStage, check_seen, is_upside_down, tiled_heatmaps
from tests.spine.oracles import (
    encode,
    encoded_volume,
    phantom_centres,
    segmentation_oracle,
    spine_oracle,
    vertebrae_oracle,
)

WHOLE = (17, 18, 19, 20, 21)  # T10 to L2


def turned(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """An array and its affine with the axes along these directions."""
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes)))
    moved = nib.orientations.apply_orientation(array, change)
    return np.ascontiguousarray(moved), affine @ nib.orientations.inv_ornt_aff(change, array.shape)


def tilted(array: np.ndarray, affine: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels resampled to a grid that is turned about the left-right axis and has 1.5 x 2.5 x 3 mm voxels."""
    angle = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    spacing = np.array([1.5, 2.5, 3.0])
    size = np.ceil(np.array(array.shape) * 2.0 / spacing * 1.4).astype(int)
    grid = np.eye(4)
    grid[:3, :3] = turn * spacing
    grid[:3, 3] = (affine @ np.append((np.array(array.shape) - 1) / 2, 1))[:3] - grid[:3, :3] @ ((size - 1) / 2)
    target = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    place_image(target, ras_to_lps(grid))
    labels = sitk.GetArrayFromImage(resample(to_sitk(array, affine), target, 0, labels=True)).T
    return np.ascontiguousarray(labels), grid


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def run_stages(volume: MetaTensor) -> tuple[dict[int, np.ndarray], np.ndarray]:
    region, _ = SpineStage(spine_oracle)(volume)
    labelling, _ = VertebraStage(vertebrae_oracle)(volume, region)
    crops, affines = vertebra_inputs(volume, list(labelling.points.values()), (64, 64, 48), 2.0)
    logits = CropInferer(batch_size=3)(crops[None], segmentation_oracle)[0]
    return labelling.points, merge_vertebrae(logits, affines, list(labelling.points), volume)[0].numpy()


@pytest.mark.parametrize("view", ["RAS", "LPS", "PIR", "AIL", "SLP", "oblique"])
def test_vertebrae_are_found_again(lower_back: TorsoPhantom, view: str) -> None:
    """Same labels, centres and masks whatever the axes of the file."""
    centres = phantom_centres(lower_back)
    move = tilted if view == "oblique" else turned
    labels, affine = move(lower_back.labels, lower_back.affine, 20.0 if view == "oblique" else view)  # type: ignore[arg-type]
    hu = encode(labels, affine, centres)
    volume = MetaTensor(torch.from_numpy(hu)[None], affine=torch.from_numpy(affine))
    points, found = run_stages(volume)
    assert set(WHOLE) <= set(points)
    for label in WHOLE:
        assert np.linalg.norm(points[label] - centres[label]) < 1.5
        own, truth = found == label, labels == label
        if view == "oblique":  # resampled twice, codes blur and thin arches break
            assert dice(own, truth) > 0.75
        else:
            shift = np.argwhere(own).mean(axis=0) - np.argwhere(truth).mean(axis=0)
            assert dice(own, truth) > 0.97 and np.linalg.norm(affine[:3, :3] @ shift) < 0.7
    assert set(np.unique(found)) - {0} == set(points)


def test_results_do_not_depend_on_the_type_of_voxels(lower_back: TorsoPhantom) -> None:
    volume = encoded_volume(lower_back)
    whole = MetaTensor(volume.as_tensor().to(torch.int16), affine=volume.affine)
    assert (run_stages(volume)[1] == run_stages(whole)[1]).all()


def test_mirrored_crops_cancel_what_depends_on_the_side() -> None:
    """A network that adds the place along x: the mean of a crop and its mirror image adds the same everywhere."""
    crops = torch.rand(1, 3, 2, 8, 5, 4)

    def lopsided(values: torch.Tensor) -> torch.Tensor:
        return values[:, :1] + torch.arange(8.0)[:, None, None]

    found = CropInferer(batch_size=2, amp=False, mirror=True)(crops, lopsided)
    torch.testing.assert_close(found, crops[:, :, 0] + 3.5)


def test_no_spine_is_refused(lower_back: TorsoPhantom) -> None:
    volume = MetaTensor(torch.full((1, 60, 60, 60), -100.0), affine=torch.eye(4).double() * 3)
    with pytest.raises(CaseError, match="shows no spine"):
        SpineStage(spine_oracle)(volume)


def test_upside_down_header_is_refused(lower_back: TorsoPhantom) -> None:
    """The oracle knows every vertebra by its look, so that in a flipped file the order is reversed."""
    volume = encoded_volume(lower_back)
    affine = np.diag([1.0, 1.0, -1.0, 1.0]) @ lower_back.affine
    flipped = MetaTensor(volume.as_tensor(), affine=torch.from_numpy(affine))
    region, _ = SpineStage(spine_oracle)(flipped)
    with pytest.raises(CaseError, match="seems to be upside down"):
        VertebraStage(vertebrae_oracle)(flipped, region)


def test_a_body_that_is_seen_upright_is_believed_more_than_the_vertebrae(
    lower_back: TorsoPhantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few vertebrae of a neck, badly recognised, may seem to lie in reverse order in a head that lies right."""
    volume = encoded_volume(lower_back)
    affine = np.diag([1.0, 1.0, -1.0, 1.0]) @ lower_back.affine
    flipped = MetaTensor(volume.as_tensor(), affine=torch.from_numpy(affine))
    region, _ = SpineStage(spine_oracle)(flipped)
    monkeypatch.setattr("shared.spine.vertebra_stage.is_upright", lambda volume: True)
    labelling, _ = VertebraStage(vertebrae_oracle)(flipped, region)
    assert labelling.uncertain and labelling.points


@pytest.mark.parametrize(("height", "length_mm", "refused"), [(0.3, 200, True), (0.5, 200, False), (0.3, 100, False)])
def test_faint_heatmaps_are_refused_where_much_is_in_view(height: float, length_mm: int, refused: bool) -> None:
    heatmaps = MetaTensor(torch.zeros(27, 4, 4, 4), affine=torch.eye(4).double())
    heatmaps[5, 1, 1, 1] = heatmaps[9, 2, 2, 2] = height
    heatmaps[12, 3, 3, 3] = 1.0  # a single one is no spine
    volume = MetaTensor(torch.zeros(1, 10, 10, length_mm // 4), affine=torch.eye(4).double() * 4)
    if refused:
        with pytest.raises(CaseError, match=r"no vertebra clearly \(heatmaps reach 0.30, 0.40 needed\)"):
            check_seen(heatmaps, volume)
    else:
        check_seen(heatmaps, volume)


def test_order_of_few_vertebrae_decides_nothing() -> None:
    two = [Candidate(label, np.array([0.0, 0.0, 10.0 * label]), 1.0) for label in (20, 21)]
    assert not is_upside_down(two)


def test_region_is_the_largest_component() -> None:
    values = torch.zeros(1, 20, 20, 30)
    values[0, 5:7, 5:7, 3:25] = 0.9
    values[0, 15, 15, 15] = 1.0
    region = spine_region(MetaTensor(values, affine=torch.diag(torch.tensor([8.0, 8.0, 8.0, 1.0])).double()))
    assert isinstance(region, SpineRegion) and region.peak == 1.0
    assert np.allclose(region.low_mm, [36, 36, 20]) and np.allclose(region.high_mm, [52, 52, 196])
    assert np.allclose(region.centroid_mm, [44, 44, 108])


def test_a_shoulder_is_no_spine() -> None:
    """The same heat in the middle of a body and 120 mm beside it: the middle counts, wherever the body lies."""
    image = torch.full((1, 60, 40, 30), -1.0)
    image[:, 20:60, 5:35, 5:] = 0.05
    values = torch.zeros(1, 60, 40, 30)
    values[0, 38:42, 10:14, 5:25] = 0.8
    values[0, 54:58, 10:14, 5:30] = 1.0
    affine = torch.diag(torch.tensor([8.0, 8.0, 8.0, 1.0])).double()
    heatmap = near_midline(MetaTensor(values, affine=affine), MetaTensor(image, affine=affine))
    region = spine_region(heatmap)
    assert abs(region.centroid_mm[0] - 8 * 39.5) < 4 and region.peak > 0.75


@pytest.mark.parametrize("size", [16, 128, 144, 320])
def test_tiles_cover_the_axis(size: int) -> None:
    covered = np.zeros(size, dtype=bool)
    for start in tile_starts(size, 128, 96):
        assert start >= 0 and start + min(128, size) <= size
        covered[start : start + 128] = True
    assert covered.all()


def test_tiled_heatmaps_are_those_of_one_pass() -> None:
    """For a network that looks at single voxels tiling changes nothing."""
    crop = torch.rand(1, 16, 16, 320)

    def network(image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image[..., ::2, ::2, ::2], -image[..., ::2, ::2, ::2]], dim=1)

    assert torch.equal(tiled_heatmaps(crop, network, amp=False), network(crop[None])[0])


def test_thick_slices_are_mentioned(lower_back: TorsoPhantom) -> None:
    assert ct_warnings(encoded_volume(lower_back)) == []
    thick = MetaTensor(torch.zeros(1, 9, 9, 9), affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])).double())
    assert "5.0 mm apart" in ct_warnings(thick)[0]
