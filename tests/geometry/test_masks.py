"""Label maps: what is kept and what is removed, boxes, edges."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from shared.geometry.masks import edges_touched, keep_largest_components, label_box, present_labels


def islands() -> np.ndarray:
    mask = np.zeros((20, 24, 28), np.uint8)
    mask[2:10, 3:9, 4:12] = 3
    mask[10, 9, 12] = 3  # touches the block by a corner alone
    mask[14:16, 14:16, 14:16] = 3
    mask[12:19, 2:5, 20:27] = 200
    mask[0, 23, 0] = 200
    mask[5, 20, 20] = 7
    return mask


def test_one_component_per_label_and_a_report_of_the_rest():
    mask = islands()
    cleaned, reports = keep_largest_components(mask)
    assert present_labels(cleaned) == [3, 7, 200] and cleaned.dtype == mask.dtype
    for label in (3, 7, 200):
        assert ndimage.label(cleaned == label)[1] == 1
    assert not (cleaned != mask)[cleaned > 0].any()
    three, seven, last = reports
    assert (three.components, three.removed_voxels, three.largest_removed_voxels) == (3, 9, 8)
    assert (seven.components, seven.removed_voxels) == (1, 0)
    assert last.voxels == (mask == 200).sum() - 1
    assert three.removed_fraction == 9 / (mask == 3).sum()
    assert np.array_equal(mask, islands()), "the input was changed"


def test_only_chosen_labels_stay_and_absent_ones_are_reported():
    cleaned, reports = keep_largest_components(islands(), [3, 9])
    assert present_labels(cleaned) == [3]
    assert [(report.label, report.voxels) for report in reports] == [(3, 8 * 6 * 8), (9, 0)]


def test_cleaning_twice_changes_nothing():
    once, _ = keep_largest_components(islands())
    twice, reports = keep_largest_components(once)
    assert np.array_equal(once, twice) and all(report.removed_voxels == 0 for report in reports)


def test_box_and_edges():
    cleaned, _ = keep_largest_components(islands())
    low, high = label_box(cleaned, [3])
    assert low.tolist() == [2, 3, 4] and high.tolist() == [10, 9, 12]
    low, high = label_box(cleaned, [3, 200])
    assert low.tolist() == [2, 2, 4] and high.tolist() == [19, 9, 27]
    assert label_box(cleaned, [5]) is None
    assert edges_touched(islands(), 200) and not edges_touched(islands(), 3)
