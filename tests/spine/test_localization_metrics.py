import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from bundles.vertebrae_segmentation.scripts.metrics import VerSeMetrics
from shared.spine.localization_metrics import identified, localization_metrics, summarize_localization

TRUTH = {label: np.array([0.0, 0.0, -30.0 * label]) for label in (20, 21, 22, 23)}


def shifted(offset: float) -> dict[int, np.ndarray]:
    return {label: point + [0, 0, offset] for label, point in TRUTH.items()}


def test_perfect_points():
    figures = localization_metrics(TRUTH, TRUTH, "strict")
    assert figures["id_rate_20mm"] == figures["id_rate_4mm"] == 1 and figures["mld_mm"] == 0
    assert figures["all_identified"] and figures["missed"] == figures["false_positives"] == 0


def test_radii_and_mean_distance():
    figures = localization_metrics(shifted(10), TRUTH)
    assert figures["id_rate_4mm"] == 0 and figures["id_rate_20mm"] == 1
    assert figures["mld_mm"] == pytest.approx(10)


def test_nearest_true_centre_decides():
    # 16 mm off is nearer to the neighbour, 30 mm apart, although closer than 20 mm
    assert not any(list(identified(shifted(16), TRUTH).values())[1:])


def test_labels_shifted_by_one_are_no_hits():
    found = {label + 1: point for label, point in TRUTH.items() if label < 23}
    figures = localization_metrics(found, TRUTH)
    assert figures["id_rate_20mm"] == 0 and figures["mld_mm"] == pytest.approx(30) and figures["missed"] == 1


def test_false_positives_cost_in_strict_mode_alone():
    found = TRUTH | {24: np.array([0.0, 0.0, -720.0])}
    assert localization_metrics(found, TRUTH)["id_rate_20mm"] == 1
    strict = localization_metrics(found, TRUTH, "strict")
    assert strict["id_rate_20mm"] == pytest.approx(4 / 5) and not strict["all_identified"]


def test_nothing_found_and_nothing_there():
    assert localization_metrics({}, TRUTH)["id_rate_20mm"] == 0
    assert np.isnan(localization_metrics({}, {})["id_rate_20mm"])


def test_summary_weighs_vertebrae_and_images():
    one = localization_metrics({20: TRUTH[20]}, {20: TRUTH[20]})
    four = localization_metrics({}, TRUTH)
    summary = summarize_localization([one, four])
    assert summary["id_rate_20mm"] == pytest.approx(1 / 5) and summary["id_rate_20mm_mean"] == pytest.approx(1 / 2)
    assert summary["images"] == 2 and summary["missed"] == 4 and summary["all_identified_rate"] == 0.5


def test_unknown_mode():
    with pytest.raises(ValueError, match="lenient"):
        localization_metrics({}, {}, "lenient")
    with pytest.raises(ValueError, match="lenient"):
        VerSeMetrics(mode="lenient")


def maps() -> tuple[np.ndarray, np.ndarray]:
    gt = np.zeros((24, 26, 40), np.uint8)
    gt[4:16, 5:17, 2:10] = 20
    gt[4:16, 5:17, 14:22] = 21
    gt[6:10, 6:10, 30:38] = 26  # the sacrum is no vertebra
    pred = np.zeros_like(gt)
    pred[5:17, 5:17, 2:11] = 20
    pred[3:5, 4:7, 28] = 20
    pred[4:16, 5:17, 14:22] = 21
    return pred, gt


def test_figures_are_those_of_monai():
    pred, gt = maps()
    spacing = (0.7, 1.3, 2.0)
    rows = VerSeMetrics(spacing).evaluate_case(pred, gt)["per_vertebra"]
    one_hot = [torch.as_tensor(array == 20)[None, None].float() for array in (pred, gt)]
    row = rows["L1"]
    for name, percentile in (("hd", None), ("hd95", 95)):
        expected = compute_hausdorff_distance(*one_hot, include_background=True, percentile=percentile, spacing=spacing)
        assert row[name] == pytest.approx(float(expected), rel=1e-5)
    expected = compute_average_surface_distance(*one_hot, include_background=True, symmetric=True, spacing=spacing)
    assert row["assd"] == pytest.approx(float(expected), rel=1e-5)
    common, total = ((pred == 20) & (gt == 20)).sum(), (pred == 20).sum() + (gt == 20).sum()
    assert row["dice"] == pytest.approx(2 * common / total) and row["iou"] == pytest.approx(common / (total - common))
    assert rows["L2"]["dice"] == 1 and rows["L2"]["hd"] == 0


def test_axes_and_spacing_belong_together():
    pred, gt = maps()
    here = VerSeMetrics((0.7, 1.3, 2.0)).evaluate_case(pred, gt)["aggregate"]
    turned = VerSeMetrics((2.0, 1.3, 0.7)).evaluate_case(pred.T, gt.T)["aggregate"]
    assert here == pytest.approx(turned)


def test_modes_of_overlap():
    pred, gt = maps()
    pred[pred == 21] = 22  # missed, and another one invented
    official = VerSeMetrics().evaluate_case(pred, gt)["aggregate"]
    strict = VerSeMetrics(mode="strict").evaluate_case(pred, gt)["aggregate"]
    assert official["missed"] == official["false_positives"] == 1 and official["vertebrae"] == 2
    assert strict["dice_mean"] == pytest.approx(official["dice_mean"] / 3)
    assert strict["hd95_mean"] == official["hd95_mean"]


def test_empty_prediction():
    _, gt = maps()
    result = VerSeMetrics(mode="strict").evaluate_case(np.zeros_like(gt), gt)
    assert result["aggregate"]["dice_mean"] == 0 and np.isnan(result["aggregate"]["hd_mean"])
    assert list(result["per_vertebra"]) == ["L1", "L2"]


def test_float_maps_and_shapes():
    pred, gt = maps()
    as_float = VerSeMetrics().evaluate_case(pred.astype(np.float32), gt.astype(np.float64))
    assert as_float == VerSeMetrics().evaluate_case(pred, gt)
    with pytest.raises(ValueError, match="shapes"):
        VerSeMetrics().evaluate_case(pred[1:], gt)
