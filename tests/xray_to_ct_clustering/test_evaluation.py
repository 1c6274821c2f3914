"""Figures of volumes and clusters, the loss of the training, the baselines."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from bundles.xray_to_ct_clustering.scripts import metrics
from bundles.xray_to_ct_clustering.scripts.ablation import STUDIES, chosen_runs, nest_runs, summary_row
from bundles.xray_to_ct_clustering.scripts.baselines import MeanGenerator, PlainGenerator
from bundles.xray_to_ct_clustering.scripts.clusters.losses import tissue_impurity
from bundles.xray_to_ct_clustering.scripts.clusters.metrics import contingency, tissue_purity
from bundles.xray_to_ct_clustering.scripts.clusters.statistics import nearest_distance
from bundles.xray_to_ct_clustering.scripts.data.patient_ct import PatientCT
from bundles.xray_to_ct_clustering.scripts.evaluation import measure_case, summarize, write_report
from bundles.xray_to_ct_clustering.scripts.hounsfield import HU_RANGE, hu_to_intensity, intensity_to_hu
from bundles.xray_to_ct_clustering.scripts.inferer import BiplanarInferer
from bundles.xray_to_ct_clustering.scripts.losses import ClusterTrackingLoss
from bundles.xray_to_ct_clustering.scripts.training import BiplanarLoss, GeneratorInferer, GeneratorView, place_clusters
from bundles.xray_to_ct_clustering.scripts.truth import with_truth
from shared.io.errors import CaseError
from shared.io.writers import write_nifti
from shared.networks.clustering import BiplanarCTNetwork, BiplanarGeometry, SpatialClusteringCTGenerator
from shared.networks.clustering.biplanar import volume_affine

GEOMETRY = BiplanarGeometry(rows=16, columns=16, pixel_mm=25.6)


def network() -> BiplanarCTNetwork:
    torch.manual_seed(0)
    return BiplanarCTNetwork(
        SpatialClusteringCTGenerator(
            (8, 8, 8), 4, 16, 1, 2, image_channels=(4, 8), spacing_mm=40.0, geometry=GEOMETRY, bias_rank=2
        )
    )


def test_figures_of_a_known_error() -> None:
    truth = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    pred = truth + 0.01
    assert metrics.mae_hu(pred, truth) == pytest.approx(25.0, abs=0.01)
    assert metrics.psnr(pred, truth) == pytest.approx(40.0, abs=0.01)
    assert metrics.psnr_x2ct(pred, truth) - metrics.psnr(pred, truth) == pytest.approx(4.29, abs=0.005)
    assert metrics.ssim_3d(truth, truth) == pytest.approx(1.0, abs=1e-4)
    assert metrics.ssim_slices(truth, truth) == pytest.approx(1.0, abs=1e-4)
    assert metrics.ssim_3d(torch.rand(16, 16, 16), truth) < 0.5
    where = torch.zeros(16, 16, 16, dtype=torch.bool)
    where[:8] = True
    assert metrics.mae_hu(torch.where(where, truth, truth + 1), truth, where) == 0


def test_purity_counts_voxels_in_dominated_clusters() -> None:
    tissues = torch.tensor([1] * 9 + [2] + [2] * 5 + [3] * 5)
    labels = torch.tensor([0] * 10 + [1] * 10)  # the first cluster is lung by 90 %, the second half soft, half bone
    table = contingency(labels, tissues)
    assert table.tolist() == [[0, 9, 1, 0], [0, 0, 5, 5]]
    assert tissue_purity(table) == {"lung": 1.0, "soft": 0.0, "bone": 0.0}


def test_impurity_is_0_for_clusters_of_one_tissue_and_falls_by_its_gradient() -> None:
    tissues = torch.tensor([[1, 1, 3, 3, 0]])
    pure = torch.eye(4)[tissues]
    assert float(tissue_impurity(pure, tissues, 4)) == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(1, 5, 4, requires_grad=True)
    with torch.no_grad():
        logits += 0.1 * torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    before = tissue_impurity(logits.softmax(-1), tissues, 4)
    (gradient,) = torch.autograd.grad(before, logits)
    assert float(before) > 0.5
    assert float(tissue_impurity((logits - 5 * gradient).softmax(-1), tissues, 4)) < float(before)


def test_distance_between_clusters() -> None:
    assert nearest_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])) == pytest.approx((5 + 1 + 1) / 3)
    assert math.isnan(nearest_distance(torch.zeros(1, 3)))


def target() -> dict[str, torch.Tensor]:
    """What a training has of a case: a dense cube in air, and noise as its X-rays."""
    distances = torch.tensor([GEOMETRY.source_to_isocenter_mm, GEOMETRY.sdd_mm, GEOMETRY.pixel_mm])
    label = torch.full((1, 1, 8, 8, 8), 0.01)
    label[..., 2:6, 2:6, 2:6] = 0.42
    regions = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    regions[:, :4] = 3
    return {"image": torch.rand(1, 2, 16, 16), "label": label, "distances": distances[None], "regions": regions}


def case(channels: torch.Tensor, folder: Path) -> dict[str, Any]:
    """A case after inference, its true CT in a folder."""
    path = folder / "truth" / "phantom_1_ct.nii.gz"
    write_nifti(intensity_to_hu(target()["label"][0, 0]), volume_affine((8, 8, 8), 40.0), path)
    result = {"accepted": True, "similarity": {"frontal": 0.9, "lateral": 0.8}}
    return {"case": "phantom_1", "truth": str(path), "channels": channels, "result": result}


def predicted(generator: Any) -> torch.Tensor:
    """Channels (6, 8, 8, 8) that inference gives of noise."""
    with torch.no_grad():
        return BiplanarInferer()(torch.rand(1, 2, 16, 16), BiplanarCTNetwork(generator).eval())[0]


def test_a_case_is_measured_and_reported(tmp_path: Path, capsys) -> None:
    channels = predicted(network().generator)
    channels[2] = torch.randint(1, 5, (8, 8, 8)).float()  # a network that is not trained uses one cluster alone
    row = measure_case(case(channels, tmp_path), 40.0, tmp_path)
    assert row["accepted"] and row["known"] == 1 and row["consistency_lateral"] == 0.8
    assert 0 <= row["assignment_entropy"] <= 1 and row["cluster_distance_mm"] > 0
    assert sum(cluster["voxels"] for cluster in row["clusters"]) == 512
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {
        f"phantom_1_{name}.nii.gz" for name in ("error_hu", "position_accuracy", "contrast_error_hu")
    }
    truth = intensity_to_hu(target()["label"][0])
    perfect = measure_case(case(torch.cat([truth, channels[1:]]), tmp_path), 40.0, tmp_path, False)
    assert perfect["mae_hu"] == pytest.approx(0, abs=1e-3) and perfect["contrast_error_hu"] == pytest.approx(
        0, abs=1e-3
    )
    assert perfect["position_accuracy"] == pytest.approx(1)
    write_report([row, {**row, "case": "patient"}], tmp_path)
    assert "patients (1, 100% accepted)" in capsys.readouterr().out
    assert (tmp_path / "clusters.csv").is_file()
    assert summarize([row, {**row, "case": "patient"}])["patients"]["psnr"] == pytest.approx(row["psnr"])


def test_what_the_ct_does_not_cover_does_not_count(tmp_path: Path) -> None:
    channels = predicted(network().generator)
    item = case(channels, tmp_path)
    whole = measure_case(item, 40.0, tmp_path, False)
    affine = volume_affine((8, 8, 8), 40.0)
    affine[2, 3] += 4 * 40.0
    write_nifti(intensity_to_hu(target()["label"][0, 0, :, :, 4:]), affine, Path(item["truth"]))
    half = measure_case(item, 40.0, tmp_path, False)
    assert whole["known"] == 1 and half["known"] == 0.5
    assert sum(cluster["voxels"] for cluster in half["clusters"]) == 256
    expected = metrics.mae_hu(hu_to_intensity(channels[0, :, :, 4:]), target()["label"][0, 0, :, :, 4:])
    assert half["mae_hu"] == pytest.approx(expected, rel=1e-3)


def test_only_cases_with_a_ct_are_evaluated(tmp_path: Path, caplog) -> None:
    case(torch.zeros(6, 8, 8, 8), tmp_path)
    cases = [{"case": "phantom_1", "image": "a"}, {"case": "other", "image": "b"}]
    assert [found["case"] for found in with_truth(cases, tmp_path / "truth")] == ["phantom_1"]
    assert "no CT of other" in caplog.text
    with pytest.raises(CaseError, match="holds no CT of other"):
        with_truth(cases[1:], tmp_path / "truth")
    with pytest.raises(CaseError, match="give --truth_dir"):
        with_truth(cases, tmp_path / "nowhere")


def test_baselines_are_measured_like_the_generator(tmp_path: Path) -> None:
    views = torch.rand(2, 1, 1, 128, 128)
    plain = PlainGenerator(image_channels=(4, 4, 4, 8, 8), volume_channels=(8, 8, 4, 4))
    assert plain(views[0], views[1])["pred_volume"].shape == (1, 1, 64, 64, 64)
    alike = network().generator
    alike.use_clustering = False
    for generator in (MeanGenerator((8, 8, 8)), alike):
        channels = predicted(generator)
        assert not channels[2].any() and channels[0].min() >= HU_RANGE[0]
        row = measure_case(case(channels, tmp_path), 40.0, tmp_path)
        assert "assignment_entropy" not in row and "clusters" not in row and row["psnr"] > 0
    with pytest.raises(ValueError, match="per halving"):
        PlainGenerator((32, 32, 32))


def test_the_plain_decoder_puts_both_views_where_they_belong() -> None:
    """Brightness on the patient's left of the frontal image changes the left of the volume, at all depths."""
    torch.manual_seed(0)
    plain = PlainGenerator((16, 16, 16), image_channels=(8, 8, 8), volume_channels=(8, 8)).eval()
    frontal, lateral = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    spot = frontal.clone()
    spot[0, 0, 4:8, 22:26] = 3.0
    change = (plain(spot, lateral)["pred_volume"] - plain(frontal, lateral)["pred_volume"]).abs()[0, 0]
    x, z = change.sum((1, 2)), change.sum((0, 1))
    assert float(x[:8].sum()) > float(x[8:].sum()) and float(z[8:].sum()) > float(z[:8].sum())


def test_loss_with_all_terms_has_gradients_and_names_unknown_tissues() -> None:
    net = network()
    tracking, generator = ClusterTrackingLoss(lambda_square=1.0), net.generator
    options = (tracking, generator.clustering, generator.grid, GEOMETRY, 40.0, 0.1, 0.1)
    known = target()
    output = GeneratorInferer(False)(known["image"], GeneratorView(net))
    loss = BiplanarLoss(*options, {"bone": 2.0})
    assert not list(loss.parameters())  # the weights of the clusters are the network's
    loss(output, known).backward()
    assert net.generator.clustering.intensity_centroids.grad is not None
    assert set(loss.last_terms) == {*tracking.weights, "purity", "projection"}
    assert 0 <= float(loss.consistency(output["pred_volume"], known["image"], known["distances"])) <= 2
    with pytest.raises(CaseError, match="no tissue"):
        BiplanarLoss(*options, {"gold": 2.0})


def test_regions_weigh_the_position_term() -> None:
    """An error in a region that does not count costs nothing in the position term, one elsewhere does."""
    known, tracking = target(), ClusterTrackingLoss(1.0, 0.0, 0.0, 0.0)
    wrong = {}
    for name, where in (("left", slice(0, 4)), ("right", slice(4, 8))):
        pred = known["label"].clone()
        pred[:, :, where] += 0.2
        wrong[name] = {"pred_volume": pred, "cluster_assignments": torch.full((1, 8, 2), 0.5)}
    loss = BiplanarLoss(tracking, None, [2, 2, 2], GEOMETRY, 40.0, region_weights={"3": 0.0})  # type: ignore[dict-item]
    assert float(loss(wrong["left"], known)) == pytest.approx(0, abs=1e-6)
    assert float(loss(wrong["right"], known)) == pytest.approx(0.2, abs=1e-6)


def test_position_accuracy_goes_by_regions_and_width(tmp_path: Path) -> None:
    channels = predicted(network().generator)
    channels[0] = intensity_to_hu(target()["label"][0, 0])
    channels[0, :4] += 500.0
    item = case(channels, tmp_path)
    write_nifti(target()["regions"][0], volume_affine((8, 8, 8), 40.0), tmp_path / "labels" / "phantom_1.nii.gz")
    options: dict[str, Any] = {"labels_dir": tmp_path / "labels"}
    figures = {
        weight: measure_case(item, 40.0, tmp_path, False, 1.0, region_weights={3: weight}, **options)
        for weight in (0.0, 1.0, 5.0)
    }
    accuracy = [row["position_accuracy"] for row in figures.values()]
    assert accuracy[0] == pytest.approx(1, abs=1e-6) and accuracy[0] > accuracy[1] > accuracy[2]
    assert accuracy[1] == pytest.approx(measure_case(item, 40.0, tmp_path, False)["position_accuracy"])


def test_clusters_start_at_the_regions_of_label_maps() -> None:
    net = network()
    hu = torch.full((32, 32, 32), -1000, dtype=torch.int16)
    labels = torch.zeros(32, 32, 32, dtype=torch.uint8)
    hu[20:28, 12:20, 12:20], labels[20:28, 12:20, 12:20] = 500, 9
    patient = PatientCT("a", hu, 10.0, (15.5, 15.5, 15.5), labels)
    place_clusters(net, [patient], (8, 8, 8), 40.0, "labels")
    clustering = net.generator.clustering
    place = int(clustering.intensity_centroids.argmax())
    assert float(intensity_to_hu(clustering.intensity_centroids[place])) == pytest.approx(500, abs=30)
    assert clustering.position_centroids[place].tolist() == pytest.approx([0.5, 0, 0], abs=0.05)
    with pytest.raises(CaseError, match="no label map"):
        place_clusters(net, [dataclasses.replace(patient, labels=None)], (8, 8, 8), 40.0, "labels")


def test_studies_are_those_of_the_table() -> None:
    assert [run for run in chosen_runs(["clusters"])] == [f"clusters: {k} clusters" for k in (16, 32, 64, 128, 256)]
    assert list(chosen_runs(list(STUDIES), ["without position"])) == [
        "position: without position",
        "baselines: without position",
    ]
    with pytest.raises(CaseError, match="no study"):
        chosen_runs(["size"])
    with pytest.raises(CaseError, match="no run"):
        chosen_runs(["clusters"], ["65 clusters"])
    row = summary_row("a", {"psnr": 20.0, "cases": 3, "phantoms": {"psnr": 21.0}})
    assert row == {"run": "a", "psnr": 20.0, "phantoms_psnr": 21.0}


def test_runs_are_nested_under_one_parent(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient
    from monai.utils import path_to_sqlite_uri

    uri = path_to_sqlite_uri(str(tmp_path / "mlruns.db"))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("study")
    children = [client.create_run(experiment, run_name=name).info.run_id for name in ("a", "b")]
    parent = nest_runs(uri, "study", ["a", "b"])
    assert nest_runs(uri, "study", ["a", "b"]) == parent
    assert [client.get_run(run).data.tags["mlflow.parentRunId"] for run in children] == [parent, parent]
