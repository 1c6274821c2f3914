import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundles.spine_localization.scripts.evaluation import MEASURES as REGION_MEASURES
from bundles.spine_localization.scripts.evaluation import region_figures
from bundles.vertebrae_segmentation.scripts.evaluate_results import main
from bundles.vertebrae_segmentation.scripts.given_landmarks import given_result
from shared.io.errors import CaseError
from shared.io.json_files import write_json
from shared.spine.centroids import write_named_centroids
from shared.spine.dataset import load_volume
from shared.spine.evaluation import evaluation_cases, read_truth
from shared.spine.labelling_json import labelling_result
from shared.spine.sequence import SpineLabelling

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = [-30, -30, 100]
LABELS = (19, 20, 21, 22)  # the first is cut by the upper end


def label_map() -> np.ndarray:
    array = np.zeros((30, 30, 62), np.uint8)
    for index, label in enumerate(LABELS):
        top = 66 - 16 * index
        array[8:20, 8:20, top - 12 : top] = label
        array[12:16, 2:8, top - 9 : top - 6] = label  # what is behind the body
    return array


def centres() -> dict[int, np.ndarray]:
    middle = AFFINE[:3, :3] @ [13.5, 13.5, 0] + AFFINE[:3, 3]
    return {label: middle + [0, 0, 2 * (66 - 16 * i - 6.5)] for i, label in enumerate(LABELS)}


def save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two cases: one with mask alone, one with centroids alone."""
    rows = []
    for name in ("one", "two"):
        noise = np.random.default_rng(0).normal(0, 100, label_map().shape)
        save(noise.astype(np.int16), tmp_path / f"{name}.nii.gz")
        rows.append({"name": name, "type": "", "image_path": f"{name}.nii.gz"})
    save(label_map(), tmp_path / "one_seg.nii.gz")
    rows[0]["mask_path"] = "one_seg.nii.gz"
    write_named_centroids(tmp_path / "two.json", centres())
    rows[1]["centroid_json_path"] = "two.json"
    with open(tmp_path / "cases.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["name", "type", "image_path", "mask_path", "centroid_json_path"])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "cases.csv"


def results(folder: Path, names: tuple[str, ...] = ("one", "two"), masks: bool = True) -> Path:
    """Perfect results, without the vertebra at the end."""
    folder.mkdir(exist_ok=True)
    points = {label: point for label, point in centres().items() if label != 19}
    for name in names:
        write_json(folder / f"{name}_landmarks.json", given_result(name, points))
        if masks:
            array = label_map()
            array[array == 19] = 0
            save(array, folder / f"{name}_segmentation.nii.gz")
    return folder


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_truth_of_a_mask_and_of_centroids(table):
    for case in evaluation_cases(str(table), "all"):
        truth = read_truth(case, load_volume(Path(case["image"])))
        assert list(truth.centres) == [20, 21, 22] and list(truth.cut) == [19]
        for label, point in truth.centres.items():
            assert np.linalg.norm(point - centres()[label]) < 1.5


def test_perfect_results(table, tmp_path, capsys):
    main(str(results(tmp_path / "out")), str(table), str(tmp_path / "eval"))
    found = metrics(tmp_path / "eval")
    for mode in ("official", "strict"):
        assert found["summary"][mode]["id_rate_20mm"] == found["summary"][mode]["dice_mean"] == 1
        assert found["summary"][mode]["hd95_mean"] == 0
    assert [row["case"] for row in found["cases"]] == ["one", "two"]
    assert [row["name"] for row in found["vertebrae"]] == ["L1", "L2", "L3"]
    assert (tmp_path / "eval" / "metrics.csv").read_text().count("\n") == 3
    assert "100.0% strict" in capsys.readouterr().out


def test_a_cut_vertebra_may_be_found_or_not(table, tmp_path):
    folder = results(tmp_path / "out")
    write_json(folder / "one_landmarks.json", given_result("one", centres()))
    save(label_map(), folder / "one_segmentation.nii.gz")
    main(str(folder), str(table), str(tmp_path / "eval"))
    strict = metrics(tmp_path / "eval")["summary"]["strict"]
    assert strict["false_positives"] == 0 and strict["dice_mean"] == 1


def test_labels_shifted_by_one(table, tmp_path):
    folder = results(tmp_path / "out", masks=False)
    shifted = {label + 1: point for label, point in centres().items() if label != 19}
    write_json(folder / "one_landmarks.json", given_result("one", shifted))
    main(str(folder), str(table), str(tmp_path / "eval"))
    summary = metrics(tmp_path / "eval")["summary"]
    assert summary["official"]["id_rate_20mm"] == pytest.approx(3 / 6)
    assert summary["strict"]["false_positives"] == 1 and summary["strict"]["id_rate_20mm"] == pytest.approx(3 / 7)
    assert summary["right_where_certain"] == 0.5  # given landmarks claim to be certain


def test_a_case_without_result_counts_as_missed(table, tmp_path):
    main(str(results(tmp_path / "out", ("one",))), str(table), str(tmp_path / "eval"))
    found = metrics(tmp_path / "eval")
    assert found["summary"]["failed"] == 1 and found["summary"]["official"]["id_rate_20mm"] == pytest.approx(0.5)
    with pytest.raises(CaseError, match="holds no results"):
        main(str(tmp_path), str(table), str(tmp_path / "eval"))


def test_label_map_on_another_grid(table, tmp_path):
    folder = results(tmp_path / "out")
    array = label_map()
    array[array == 19] = 0
    finer = AFFINE @ np.diag([0.5, 0.5, 0.5, 1.0])
    finer[:3, 3] = AFFINE[:3, :3] @ [-0.25, -0.25, -0.25] + AFFINE[:3, 3]
    save(array.repeat(2, 0).repeat(2, 1).repeat(2, 2), folder / "one_segmentation.nii.gz", finer)
    main(str(folder), str(table), str(tmp_path / "eval"))
    assert metrics(tmp_path / "eval")["summary"]["official"]["dice_mean"] == 1


def test_uncertain_labellings_are_counted(table, tmp_path):
    folder = results(tmp_path / "out", masks=False)
    points = {label: point for label, point in centres().items() if label != 19}
    doubt = SpineLabelling(points, dict.fromkeys(points, 0.5), 0.1, None, True, ["level uncertain"])
    write_json(folder / "one_landmarks.json", labelling_result("one", doubt))
    main(str(folder), str(table), str(tmp_path / "eval"))
    found = metrics(tmp_path / "eval")
    assert found["summary"]["level_uncertain_rate"] == 0.5 and found["summary"]["right_where_certain"] == 1
    assert found["cases"][0]["level_uncertain"] and found["cases"][0]["margin"] == 0.1


def test_region_of_the_spine(table):
    case = evaluation_cases(str(table), "all")[0]
    volume = load_volume(Path(case["image"]))
    truth = read_truth(case, volume)
    points = np.array(list((truth.centres | truth.cut).values())) * [-1, -1, 1]
    low, high, middle = points.min(axis=0) - 5, points.max(axis=0) + 5, points.mean(axis=0) + [3, 0, 4]
    result = {"centroid": dict(zip("xyz", middle, strict=True))}
    result["box"] = {"low": dict(zip("xyz", low, strict=True)), "high": dict(zip("xyz", high, strict=True))}
    found = region_figures(result, None, truth)
    assert found["centroid_error_mm"] == pytest.approx(5)
    assert found["centroid_error_across_mm"] == pytest.approx(3) and found["inside_box"] == 1
    result["box"]["low"]["z"] = points[:, 2].mean()
    assert region_figures(result, None, truth)["inside_box"] < 1
    refused = REGION_MEASURES.row(case, volume, None, None)
    assert refused["failed"] and refused["inside_box"] == 0
