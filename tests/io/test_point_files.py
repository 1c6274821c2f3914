"""Landmark tables and results in files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shared.io.errors import CaseError
from shared.io.point_files import landmark_result, match_landmarks, read_landmark_table, write_landmarks

HEADER = "image,split,x0,y0,x1,y1\n"


def write(tmp_path, text):
    path = tmp_path / "landmarks.csv"
    path.write_text(text)
    return path


def test_a_table_is_read(tmp_path):
    rows = read_landmark_table(write(tmp_path, HEADER + "a.png,train,1,2.5,3,4\n\nb,test,5,6,7,8\n"), count=2)
    assert [(row.image, row.split) for row in rows] == [("a.png", "train"), ("b", "test")]
    np.testing.assert_array_equal(rows[0].points, [[1, 2.5], [3, 4]])


def test_columns_may_come_in_any_order_without_split_and_in_three_dimensions(tmp_path):
    rows = read_landmark_table(write(tmp_path, "\ufeffz0,y0,x0,image\n3,2,1,a\n"))
    assert rows[0].split is None
    np.testing.assert_array_equal(rows[0].points, [[1, 2, 3]])


def test_absent_landmarks_are_nan_where_they_are_allowed(tmp_path):
    path = write(tmp_path, HEADER + "a,train,1,2,,\nb,train,nan,NaN,3,4\n")
    rows = read_landmark_table(path, allow_absent=True)
    np.testing.assert_array_equal(rows[0].points, [[1, 2], [np.nan, np.nan]])
    with pytest.raises(CaseError, match="nothing, nothing for landmark 1 of image a"):
        read_landmark_table(path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no column image"),
        ("name,x0,y0\na,1,2\n", "no column image"),
        ("image,x0,y0,x1\na,1,2,3\n", "no column y1"),
        ("image,x0,y0,x2,y2\na,1,2,3,4\n", "no column x1"),
        ("image\na\n", "no column x0"),
        (HEADER, "has no rows"),
        (HEADER + "a,train,1,2,3\n", "has 5 values in the row of image a and 6 columns"),
        (HEADER + "a,train,1,2,3,nan\n", "has 3, nan for landmark 1 of image a"),
        (HEADER + "a,train,1,2,3,left\n", "has 3, left for landmark 1 of image a"),
        (HEADER + "a,train,1,inf,3,4\n", "for landmark 0 of image a"),
        (HEADER + "a,train,1,2,3,4\n" * 2, "two rows of image a"),
        ("image,x0,y0\na,1,2\n", "has 1 landmarks, 2 are needed"),
    ],
)
def test_broken_tables_are_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(CaseError, match=message) as error:
        read_landmark_table(path, count=2)
    assert str(error.value).startswith(str(path))


def test_a_missing_or_binary_table_is_named(tmp_path):
    with pytest.raises(CaseError, match="no such landmark table"):
        read_landmark_table(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81" * 10)
    with pytest.raises(CaseError, match="is no CSV file|no column image"):
        read_landmark_table(tmp_path / "a.csv")


def test_images_find_their_rows_with_and_without_suffix(tmp_path):
    path = write(tmp_path, HEADER + "a.png,train,1,2,3,4\nb,test,5,6,7,8\nc.x,test,9,6,7,8\n")
    rows = read_landmark_table(path)
    cases = [{"image": "/data/b.nii.gz", "case": "b"}, {"image": "/data/a.png", "case": "a_png"}]
    cases.append({"image": "/data/c.x.jpg", "case": "c"})
    found = match_landmarks(cases, rows, path)
    assert [case["landmarks"][0, 0] for case in found] == [5, 1, 9]
    with pytest.raises(CaseError, match="has no row of image d.png"):
        match_landmarks([{"image": "/data/d.png", "case": "d"}], rows, path)


@pytest.mark.parametrize("dims", [2, 3])
def test_results_come_back(tmp_path, dims):
    points = np.random.default_rng(0).normal(size=(3, dims)) * 100
    points[1] = np.nan
    confidence = np.array([0.5, 0.2, 1])
    result = landmark_result("a", "pixels", ["p", "q", "r"], points, confidence, ["odd"], mm_per_pixel=[0.1, 0.1])
    write_landmarks(tmp_path / "out" / "a_landmarks.json", result)
    stored = json.loads((tmp_path / "out" / "a_landmarks.json").read_text())
    assert list(stored) == ["case", "frame", "mm_per_pixel", "landmarks", "warnings"]
    assert [mark["name"] for mark in stored["landmarks"]] == ["p", "r"]
    assert set(stored["landmarks"][0]) == {"index", "name", "confidence", *"xyz"[:dims]}
    found = np.array([[mark[axis] for axis in "xyz"[:dims]] for mark in stored["landmarks"]])
    np.testing.assert_allclose(found, points[[0, 2]], atol=6e-4)
    assert [mark["index"] for mark in stored["landmarks"]] == [0, 2]
    assert [mark["confidence"] for mark in stored["landmarks"]] == [0.5, 1]


def test_incomplete_results_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="warnings"):
        write_landmarks(tmp_path / "a.json", {"case": "a", "frame": "b", "landmarks": []})
    with pytest.raises(ValueError):
        write_landmarks(
            tmp_path / "a.json", {"case": "a", "frame": "b", "landmarks": [{"x": float("nan")}], "warnings": []}
        )
    assert not list(tmp_path.iterdir())
