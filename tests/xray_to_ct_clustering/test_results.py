"""What is written about a case lies where it should and says what it should."""

from __future__ import annotations

import dataclasses
import json
import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundles.xray_to_ct_clustering.scripts.data.patient_ct import cube
from bundles.xray_to_ct_clustering.scripts.data.rendering import scale_xrays
from bundles.xray_to_ct_clustering.scripts.hounsfield import HU_RANGE, tissue_name
from bundles.xray_to_ct_clustering.scripts.inferer import BiplanarInferer
from bundles.xray_to_ct_clustering.scripts.results import VolumeResultd, cluster_table, rendered_views
from shared.drr.geometry import project_points
from shared.io.errors import CaseError
from shared.networks.clustering import (
    BiplanarCTNetwork,
    SpatialClusteringCTGenerator,
)
from shared.xray.pixel_size import on_detector
from tests.xray_to_ct_clustering.xrays import FINE_MM, GEOMETRY, SIZE, pair, patient

FIELDS = dataclasses.asdict(GEOMETRY)
EVIDENCE = {
    "same_picture": 0.3,
    "row_agreement": 0.99,
    "row_shift": 0,
    "frontal": {"strangeness": 0.1, "strangeness_as_the_other_view": 0.5, "limit": 0.3},
    "lateral": {"strangeness": 0.1, "strangeness_as_the_other_view": 0.5, "limit": 0.3},
}


def case(volume: torch.Tensor) -> dict:
    """Data after inference, as if a network had predicted the volume (6, X, Y, Z)."""
    intake = {
        "case": "a",
        "views": {"frontal": {}, "lateral": {}},
        "geometry": {"frontal": FIELDS, "lateral": FIELDS},
        "orientation": {"frontal": "header", "lateral": "recognised"},
        "pixel_size": {name: on_detector((0.2, 0.2), "option").content() for name in ("frontal", "lateral")},
        "evidence": EVIDENCE,
        "warnings": ["frontal: something was assumed"],
    }
    image = MetaTensor(scale_xrays(pair()), meta={"filename_or_obj": "/data/a_frontal.png"})
    return {"case": "a", "image": image, "pred": volume, "intake": json.dumps(intake)}


def truth() -> torch.Tensor:
    """The CT of the X-rays as the inferer would give it, in two clusters: up to and above -500 HU."""
    hu = cube(patient(9000), SIZE).clamp(*HU_RANGE)
    return torch.stack(
        [hu, torch.full_like(hu, 40.0), 1.0 + (hu > -500), torch.ones_like(hu), *torch.zeros(2, SIZE, SIZE, SIZE)]
    )


def test_a_right_volume_is_accepted_and_everything_is_written(tmp_path):
    output = VolumeResultd("pred", FINE_MM, tmp_path)(case(truth()))
    assert {p.name for p in tmp_path.iterdir()} == {
        f"a_{name}"
        for name in ("clusters.nii.gz", "confidence.nii.gz", "uncertainty.nii.gz", "volume.json", "preview.png")
    }
    document = json.loads((tmp_path / "a_volume.json").read_text())
    assert document["accepted"] and document["warnings"] == ["frontal: something was assumed"]
    assert min(document["similarity"].values()) > 0.95
    assert document["mean_uncertainty_hu"] == 40.0
    assert output["pred"].shape == (1, SIZE, SIZE, SIZE) and output["pred"].meta["filename_or_obj"] == "a"
    np.testing.assert_allclose(output["pred"].affine.numpy(), document["affine"])
    clusters = nib.load(tmp_path / "a_clusters.nii.gz")
    assert clusters.get_data_dtype() == np.uint8 and set(np.unique(clusters.dataobj)) == {1, 2}
    np.testing.assert_allclose(clusters.affine, document["affine"])


def test_a_wrong_volume_is_refused_and_leaves_nothing(tmp_path):
    wrong = truth().flip(1, 3)  # another patient: mirrored and upside down
    with pytest.raises(CaseError, match="a_frontal.png: the volume does not show what the frontal X-ray shows.*refuse"):
        VolumeResultd("pred", FINE_MM, tmp_path)(case(wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_volume_that_is_wanted_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        VolumeResultd("pred", FINE_MM, tmp_path, refuse=False)(case(truth().flip(1, 3)))
    document = json.loads((tmp_path / "a_volume.json").read_text())
    assert not document["accepted"] and document["reasons"]
    assert "REJECTED" in caplog.text


def test_a_server_of_labels_gets_the_volume_and_no_files(tmp_path):
    data = case(truth())
    del data["case"]
    output = VolumeResultd("pred", FINE_MM, tmp_path)(data)
    assert output["pred"].shape == (1, SIZE, SIZE, SIZE) and list(tmp_path.iterdir()) == []


def test_a_network_without_clusters_has_neither_their_table_nor_an_error(tmp_path):
    volume = truth()
    volume[[1, 3, 4]] = torch.nan
    volume[2] = 0
    VolumeResultd("pred", FINE_MM, tmp_path)(case(volume))
    document = json.loads((tmp_path / "a_volume.json").read_text(), parse_constant=pytest.fail)
    assert document["clusters"] == [] and document["mean_uncertainty_hu"] is None


def test_two_levels_of_clusters_give_a_coarse_map_and_table(tmp_path):
    torch.manual_seed(0)
    generator = SpatialClusteringCTGenerator(
        (SIZE,) * 3, 8, 16, 1, 2, coarse_clusters=2, image_channels=(8, 8, 8), spacing_mm=FINE_MM, geometry=GEOMETRY
    )
    with torch.no_grad():
        volume = BiplanarInferer()(scale_xrays(pair())[None], BiplanarCTNetwork(generator).eval())[0]
    volume[2] = torch.randint(1, 9, volume[2].shape).float()
    volume[5] = torch.where(volume[2] > 4, 2.0, 1.0)
    VolumeResultd("pred", FINE_MM, tmp_path, refuse=False)(case(volume))
    document = json.loads((tmp_path / "a_volume.json").read_text())
    coarse, fine = document["coarse_clusters"], document["clusters"]
    assert [row["label"] for row in coarse] == [1, 2]
    assert coarse[0]["voxels"] == sum(row["voxels"] for row in fine[:4])
    assert set(np.unique(nib.load(tmp_path / "a_coarse_clusters.nii.gz").dataobj)) == {1, 2}


def test_the_inferer_tells_the_family_of_a_cluster():
    torch.manual_seed(0)
    generator = SpatialClusteringCTGenerator(
        (16, 16, 16), 8, 16, 1, 2, coarse_clusters=2, image_channels=(8, 8, 8), spacing_mm=20.0, geometry=GEOMETRY
    )
    torch.nn.init.normal_(generator.head.weight)
    with torch.no_grad():
        volume = BiplanarInferer()(scale_xrays(pair())[None], BiplanarCTNetwork(generator).eval())[0]
    assert torch.equal(volume[5], torch.where(volume[2] > 4, 2.0, 1.0))


def test_a_dense_ball_is_found_where_the_x_rays_see_it():
    hu = torch.full((32, 32, 32), -1000.0)
    hu[25:28, 10:13, 18:21] = 1000.0
    volume = torch.stack([hu, torch.ones_like(hu), 1.0 + (hu > 0), *torch.ones(2, 32, 32, 32), 0 * hu])
    (row,) = [row for row in cluster_table(volume, 10.0) if row["label"] == 2]
    place = torch.tensor([[row["center_mm"][axis] for axis in "xyz"]], dtype=torch.float64)
    torch.testing.assert_close(place, torch.tensor([[105.0, -45.0, 35.0]], dtype=torch.float64))
    rendered, _ = rendered_views(hu, torch.rand(2, 64, 64), {"frontal": FIELDS, "lateral": FIELDS}, 10.0, HU_RANGE)
    seen = project_points(place, GEOMETRY.poses(), GEOMETRY.detector())
    for image, (column, line) in zip(rendered, seen[:, 0].tolist(), strict=True):
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        weight = image / image.sum()
        assert float((weight * columns).sum()) == pytest.approx(column, abs=0.2)
        assert float((weight * rows).sum()) == pytest.approx(line, abs=0.2)


def test_the_inferer_gives_all_channels_and_uses_the_projections_of_the_case():
    torch.manual_seed(0)
    generator = SpatialClusteringCTGenerator(
        (16, 16, 16), 8, 16, 1, 2, token_size=4, image_channels=(8, 8, 8), spacing_mm=20.0, geometry=GEOMETRY
    )
    torch.nn.init.normal_(generator.head.weight)
    network = BiplanarCTNetwork(generator).eval()
    own = MetaTensor(scale_xrays(pair())[None], meta={"projections": GEOMETRY.projections()[None]})
    other = dataclasses.replace(GEOMETRY, sdd_mm=1100.0, source_to_isocenter_mm=800.0)
    with torch.no_grad():
        plain = BiplanarInferer()(own.as_tensor(), network)
        same = BiplanarInferer()(own, network)
        moved = BiplanarInferer()(MetaTensor(own.as_tensor()[0], meta={"projections": other.projections()}), network)
        volume = network(own.as_tensor())
    assert plain.shape == (1, 6, 16, 16, 16)
    torch.testing.assert_close(plain, same)
    assert not torch.allclose(plain[:, 0], moved[:, 0], atol=1.0)
    torch.testing.assert_close(plain[:, :1], HU_RANGE[0] + volume * (HU_RANGE[1] - HU_RANGE[0]))
    assert (plain[:, 1] > 0).all() and plain[:, 2].min() >= 1 and plain[:, 2].max() <= 8
    assert not plain[:, 5].any()
    assert (plain[:, 4] >= 0).all() and plain[:, 4].max() <= 1 + 1e-6
    assert plain[:, 3].max() <= 1 and plain[:, 3].min() >= 1 / 8 - 1e-6


@pytest.mark.parametrize(
    ("hu", "name"), [(-990, "air"), (-700, "lung"), (-90, "fat"), (45, "soft tissue"), (400, "bone")]
)
def test_tissues(hu, name):
    assert tissue_name(hu) == name
