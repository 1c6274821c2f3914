"""Pictures and figures of clusters and of the comparison with the true CT."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from bundles.xray_to_ct_clustering.scripts.clusters.pictures import ClusterPicturesd, outside_air
from bundles.xray_to_ct_clustering.scripts.error_pictures import TrackingPicturesd, track
from bundles.xray_to_ct_clustering.scripts.pictures import plane_of
from bundles.xray_to_ct_clustering.scripts.truth import read_truth, truth_path
from shared.io.errors import CaseError

SIZE, VOXEL_MM = 16, 20.0


def phantom() -> torch.Tensor:
    """(6, 16, 16, 16): air 1, a body 2 of 0 HU with two lungs 3 of -800 HU."""
    hu = torch.full((SIZE,) * 3, -1000.0)
    hu[3:13, 4:12] = 0.0
    hu[4:7, 6:10, 6:] = hu[9:12, 6:10, 6:] = -800.0
    labels = torch.where(hu == 0, 2.0, torch.where(hu == -800, 3.0, 1.0))
    return torch.stack([hu, torch.full_like(hu, 30.0), labels, torch.ones_like(hu), *torch.zeros(2, SIZE, SIZE, SIZE)])


def test_planes_are_seen_as_radiologists_see_them():
    volume = np.zeros((4, 5, 6))
    volume[3, 4, 5] = 1  # right, front, top
    assert plane_of(volume, "coronal", 4).shape == (6, 4) and plane_of(volume, "coronal", 4)[0, 0] == 1
    assert plane_of(volume, "sagittal", 3).shape == (6, 5) and plane_of(volume, "sagittal", 3)[0, 0] == 1
    assert plane_of(volume, "axial", 5).shape == (5, 4) and plane_of(volume, "axial", 5)[0, 0] == 1


def test_air_around_the_body_is_not_that_of_the_lungs():
    hu = phantom()[0].numpy()
    outside = outside_air(hu)
    assert (outside == (hu == -1000)).all()


def test_a_perfect_prediction_has_no_error():
    volume = phantom()
    maps, figures, rows = track(volume, volume[0])
    assert figures["mae_hu"] == 0 and figures["contrast_error_hu"] == 0
    assert figures["position_accuracy"] == pytest.approx(1) and figures["cluster_separation"] == pytest.approx(1)
    assert [row["label"] for row in rows] == [1, 2, 3], "an empty cluster has no row"
    assert all(row["consistency"] == 1 and row["true_sd_hu"] == 0 for row in rows)
    assert maps["intensity_error"].shape == (SIZE,) * 3


def test_an_error_is_found_in_its_cluster_and_counts_by_its_position():
    volume, far = phantom(), phantom()
    truth = volume[0].clone()
    volume[0, 8, 8, 8] += 500.0
    far[0, 3, 4, 15] += 500.0
    maps, figures, rows = track(volume, truth)
    assert float(maps["intensity_error"][8, 8, 8]) == pytest.approx(500, abs=0.1)
    assert figures["position_accuracy"] < track(far, truth)[1]["position_accuracy"] < 1
    wrong = {row["label"]: row["mae_hu"] for row in rows}
    assert wrong[2] > 0 and wrong[1] == wrong[3] == 0


def test_voxels_without_truth_do_not_count():
    volume = phantom()
    truth = volume[0].clone()
    truth[:, :, :4] = torch.nan
    volume[0, :, :, :4] += 900.0
    _, figures, rows = track(volume, truth)
    assert figures["mae_hu"] == 0 and figures["voxels_known"] == SIZE * SIZE * 12
    assert sum(row["voxels"] for row in rows) == figures["voxels_known"]


def test_a_true_ct_of_another_grid_lies_in_the_same_world(tmp_path):
    array = np.full((40, 40, 30), -1000, np.int16)
    affine = np.array([[0, -10.0, 0, 195], [10.0, 0, 0, -195], [0, 0, 10.0, -100], [0, 0, 0, 1]])
    point = np.array([55.0, -45.0, 30.0])
    i, j, k = np.rint(np.linalg.solve(affine[:3, :3], point - affine[:3, 3])).astype(int)
    array[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3] = 1000
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "a_ct.nii.gz")
    truth = read_truth(truth_path(tmp_path, "a"), (SIZE,) * 3, VOXEL_MM)
    weight = (truth.nan_to_num(-1000.0) + 1000).double()
    places = (
        torch.stack(torch.meshgrid(*[torch.arange(SIZE)] * 3, indexing="ij")).double() - (SIZE - 1) / 2
    ) * VOXEL_MM
    found = (places * weight).flatten(1).sum(1) / weight.sum()
    assert found.tolist() == pytest.approx(point.tolist(), abs=3.0)
    assert torch.isnan(truth[..., 0]).all() and not torch.isnan(truth[8, 8, 8]), "the CT ends above the lowest slice"


def test_a_case_without_truth_is_said(tmp_path):
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(9, 9, 9)), np.eye(4)), tmp_path / "b_ct.nii.gz")
    with pytest.raises(CaseError, match="holds no CT of a"):
        truth_path(tmp_path, "a")


def test_pictures_are_written(tmp_path, monkeypatch):
    volume = phantom()
    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = -VOXEL_MM * (SIZE - 1) / 2
    truth, results = tmp_path / "truth", tmp_path / "results"
    truth.mkdir()
    results.mkdir()
    nib.save(nib.Nifti1Image(volume[0].numpy().astype(np.int16), affine), truth / "a_ct.nii.gz")
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (figures.append(self), open(path, "wb").close()))
    data = {"case": "a", "pred": volume}
    ClusterPicturesd("pred", VOXEL_MM, results)(data)
    TrackingPicturesd("pred", truth, VOXEL_MM, results)(data)
    names = {p.name for p in results.iterdir()}
    assert names == {
        *(f"a_clusters{end}" for end in ("_3d.png", "_histograms.png", "_space.png", ".json")),
        *(f"a_{end}" for end in ("tracking.png", "consistency.png", "tracking.json")),
    }
    assert len(figures) == 5 and all(figure.axes for figure in figures)
    table = json.loads((results / "a_clusters.json").read_text())["clusters"]
    assert [row["name"] for row in table] == ["air 1", "soft tissue 2", "lung 3"]
    assert json.loads((results / "a_tracking.json").read_text())["mae_hu"] == 0
