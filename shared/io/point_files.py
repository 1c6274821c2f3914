"""Landmarks in files: the table that a training reads, the JSON that an inference writes."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CaseError
from .json_files import write_json

AXES = "xyz"
TABLE_ADVICE = "the table needs the columns image, (split,) x0, y0, x1, y1 … and one row for each image"


@dataclass(frozen=True)
class LandmarkRow:
    """Landmarks of one image.

    Attributes:
        image: name of the file, with or without its suffix.
        split: "train", "validation" … or None where the table has no such column.
        points: (K, D) float64 in pixels of the file, the centre of the first pixel is 0, 0; NaN for an absent landmark.
    """

    image: str
    split: str | None
    points: np.ndarray


def coordinate_columns(path: str | os.PathLike, header: Sequence[str]) -> list[list[int]]:
    """Columns of the coordinates x, y(, z) of each landmark.

    Raises:
        CaseError: naming the first column that is missing.
    """
    dims = 3 if "z0" in header else 2
    count = sum(name.startswith("x") and name[1:].isdigit() for name in header)
    columns = []
    for index in range(max(1, count)):
        names = [f"{axis}{index}" for axis in AXES[:dims]]
        for name in names:
            if name not in header:
                raise CaseError(path, f"has no column {name}", TABLE_ADVICE)
        columns.append([header.index(name) for name in names])
    return columns


def parse_point(path: str | os.PathLike, where: str, texts: Sequence[str], allow_absent: bool) -> list[float]:
    """Coordinates of one landmark.

    Raises:
        CaseError: when one is no number, or is missing or not finite and that is not allowed.
    """
    absent = [text.strip().lower() in ("", "nan") for text in texts]
    if all(absent) and allow_absent:
        return [math.nan] * len(texts)
    try:
        values = [float(text) for text in texts]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        shown = ", ".join(text or "nothing" for text in texts)
        advice = "give numbers" + (", or leave all coordinates of an absent landmark empty" if allow_absent else "")
        raise CaseError(path, f"has {shown} for {where}", advice)
    return values


def read_landmark_table(
    path: str | os.PathLike, count: int | None = None, allow_absent: bool = False
) -> list[LandmarkRow]:
    """Read a CSV with the columns image, split (optional), x0, y0 (, z0), x1 …, in any order.

    Args:
        path: the table.
        count: number of landmarks that it has to have; any where None.
        allow_absent: accept landmarks whose coordinates are all empty or nan.

    Returns:
        One entry per row.

    Raises:
        CaseError: when the table is missing or empty, lacks columns, repeats an image, or a row has too few values or
            values that are no numbers; names the row.
    """
    if not Path(path).is_file():
        raise CaseError(path, "no such landmark table", TABLE_ADVICE)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CaseError(path, "is no CSV file", TABLE_ADVICE) from error
    if not lines or "image" not in lines[0]:
        raise CaseError(path, "has no column image", TABLE_ADVICE)
    header = lines[0]
    columns = coordinate_columns(path, header)
    if count is not None and len(columns) != count:
        raise CaseError(path, f"has {len(columns)} landmarks, {count} are needed", TABLE_ADVICE)
    if len(lines) == 1:
        raise CaseError(path, "has no rows", TABLE_ADVICE)
    rows: dict[tuple[str | None, str], LandmarkRow] = {}
    for line in lines[1:]:
        name = line[header.index("image")] if len(line) > header.index("image") else ""
        if len(line) != len(header):
            problem = f"has {len(line)} values in the row of image {name} and {len(header)} columns"
            raise CaseError(path, problem, TABLE_ADVICE)
        split = line[header.index("split")] if "split" in header else None
        if (split, name) in rows:
            raise CaseError(path, f"has two rows of image {name}", TABLE_ADVICE)
        points = [
            parse_point(path, f"landmark {index} of image {name}", [line[column] for column in own], allow_absent)
            for index, own in enumerate(columns)
        ]
        rows[split, name] = LandmarkRow(name, split, np.asarray(points, dtype=np.float64))
    return list(rows.values())


def match_landmarks(
    cases: Sequence[Mapping[str, Any]], rows: Sequence[LandmarkRow], path: str | os.PathLike, key: str = "landmarks"
) -> list[dict[str, Any]]:
    """Cases with their landmarks, found by the name of the image file with or without its suffix.

    Args:
        cases: as ``find_cases`` gives them.
        rows: of the table.
        path: of the table, for the message.
        key: under which the (K, D) points are added.

    Raises:
        CaseError: naming the first image without a row.
    """
    by_name = {row.image: row for row in rows}
    found = []
    for case in cases:
        file = Path(str(case["image"])).name
        names = [file, file.removesuffix(".gz").rsplit(".", 1)[0], str(case.get("case"))]
        row = next((by_name[name] for name in names if name in by_name), None)
        if row is None:
            raise CaseError(path, f"has no row of image {file}", "add it, or take the image out of the folder")
        found.append({**case, key: row.points})
    return found


def landmark_result(
    case: str,
    frame: str,
    names: Sequence[str],
    points: np.ndarray,
    confidence: np.ndarray,
    warnings: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Result of one case in the form that :func:`write_landmarks` takes; absent landmarks (NaN) are left out.

    Args:
        case: name.
        frame: what the coordinates are, in words.
        names: K names.
        points: (K, D).
        confidence: (K,) in 0..1.
        warnings: sentences.
        more: further entries, such as ``mm_per_pixel``.
    """
    landmarks = [
        {"index": index, "name": name}
        | {axis: round(float(value), 3) for axis, value in zip(AXES, point, strict=False)}
        | {"confidence": round(float(trust), 4)}
        for index, (name, point, trust) in enumerate(zip(names, points, confidence, strict=True))
        if np.isfinite(point).all()
    ]
    return {"case": case, "frame": frame, **more, "landmarks": landmarks, "warnings": list(warnings)}


def write_landmarks(path: str | os.PathLike, result: Mapping[str, Any]) -> None:
    """Write the result of one case as JSON, whole or not at all.

    Args:
        path: usually ``<case>_landmarks.json``.
        result: ``case``, ``frame``, ``landmarks`` (a list of ``index``, ``name``, ``x``, ``y``(, ``z``),
            ``confidence``), ``warnings`` and more, without NaN.

    Raises:
        ValueError: when one of them is missing or a number is not finite.
    """
    if missing := {"case", "frame", "landmarks", "warnings"} - result.keys():
        raise ValueError(f"a result of landmarks needs {sorted(missing)}")
    write_json(path, result)
