"""The set of landmarks that this bundle finds, as one data file says: names, bones, size, sides, shape.

`configs/hand_points.json` is that of the shipped weights. For another set write a file of the same form without
"shape", and add the statistics of your annotated hands:

    python -m scripts.landmark_set --points configs/my_points.json --landmarks DIR/landmarks.csv
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .shared.engines.terminal import run_command
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.point_files import read_landmark_table

SHIPPED = Path(__file__).resolve().parents[1] / "configs" / "hand_points.json"
SIDES = ("left", "right")
ADVICE = "write it like configs/hand_points.json"
MODES = 12


@dataclass(frozen=True)
class LandmarkSet:
    """What is known about a set of K landmarks before any picture is seen.

    Attributes:
        path: of the data file.
        names: K names.
        bones: pairs of indices that are joined in pictures and whose lengths are checked.
        size_name: what gives the scale of a hand, such as "wrist".
        size_between: the two landmarks whose distance it is.
        size_mm: that distance by convention.
        side: "left" or "right", the side of the hands that the network is trained on.
        along, across: pairs of landmarks; the turn from the first direction to the second tells the side.
        mean: (K, 2) mean hand in mm, upright, y down, its centroid the origin; that of ``side``.
        modes: (M, K, 2) principal modes of the shape, each times its standard deviation.
    """

    path: str
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    size_name: str
    size_between: tuple[int, int]
    size_mm: float
    side: str
    along: tuple[int, int]
    across: tuple[int, int]
    mean: np.ndarray
    modes: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def mm_per_unit(self, points: np.ndarray) -> float:
        """Millimetres per unit of isotropic points (K, 2) by the size convention."""
        first, second = (np.asarray(points)[index] for index in self.size_between)
        return self.size_mm / max(float(np.linalg.norm(first - second)), 1e-6)

    def bone_lengths(self, points: np.ndarray) -> np.ndarray:
        """Lengths (..., bones) of (..., K, 2) points, in their unit."""
        first, second = np.array(self.bones).T
        return np.linalg.norm(points[..., first, :] - points[..., second, :], axis=-1)

    def side_of(self, points: np.ndarray) -> str:
        """ "left" or "right", for a hand seen from the back or through, fingers anywhere.

        Args:
            points: (K, 2), y down.
        """

        def turn(shape: np.ndarray) -> float:
            along = shape[self.along[1]] - shape[self.along[0]]
            across = shape[self.across[1]] - shape[self.across[0]]
            return float(along[0] * across[1] - along[1] * across[0])

        same = turn(np.asarray(points)) * turn(self.mean) > 0
        return self.side if same else SIDES[1 - SIDES.index(self.side)]


def read_description(path: str | os.PathLike) -> dict[str, Any]:
    """The data file as it is.

    Raises:
        CaseError: when there is no such file, it is no JSON or lacks an entry.
    """
    if not Path(path).is_file():
        raise CaseError(path, "no such file of landmarks", ADVICE)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CaseError(path, f"is no JSON ({error})", ADVICE) from error
    missing = [key for key in ("names", "bones", "size", "side") if key not in content]
    if missing:
        raise CaseError(path, f"has no entry {missing[0]}", ADVICE)
    return content


def index_pair(path: str | os.PathLike, names: Sequence[str], pair: Sequence[str]) -> tuple[int, int]:
    """Indices of two named landmarks.

    Raises:
        CaseError: when a name is not in the list.
    """
    unknown = [name for name in pair if name not in names]
    if unknown or len(pair) != 2:
        problem = f"names {unknown[0]}, which is no landmark of its list" if unknown else f"has {pair}, not two names"
        raise CaseError(path, problem, ADVICE)
    return names.index(pair[0]), names.index(pair[1])


def read_landmark_set(path: str | os.PathLike = SHIPPED) -> LandmarkSet:
    """The set that a data file describes.

    Raises:
        CaseError: when the file is missing or incomplete.
    """
    content = read_description(path)
    names, size, side = content["names"], content["size"], content["side"]
    if "shape" not in content:
        command = f"python -m scripts.landmark_set --points {path} --landmarks landmarks.csv"
        raise CaseError(path, "has no entry shape", f"add it with: {command}")
    mean = np.asarray(content["shape"]["mean"], dtype=float)
    modes = np.asarray(content["shape"]["modes"], dtype=float)
    if mean.shape != (len(names), 2) or modes.shape[1:] != mean.shape:
        raise CaseError(path, f"has {len(names)} names and a shape of {len(mean)} points", ADVICE)
    return LandmarkSet(
        path=str(path),
        names=tuple(names),
        bones=tuple(index_pair(path, names, bone) for bone in content["bones"]),
        size_name=size["name"],
        size_between=index_pair(path, names, size["between"]),
        size_mm=float(size["mm"]),
        side=side["name"],
        along=index_pair(path, names, side["along"]),
        across=index_pair(path, names, side["across"]),
        mean=mean,
        modes=modes,
    )


def rotate_onto(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotate centred (K, 2) points onto a centred target in the least-squares sense, without scaling or reflection."""
    dot = np.sum(points * target)
    cross = np.sum(points[:, 0] * target[:, 1] - points[:, 1] * target[:, 0])
    angle = np.arctan2(cross, dot)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T


def scale_to_size(points: np.ndarray, between: Sequence[int], size_mm: float) -> np.ndarray:
    """Centre (..., K, 2) points and scale them so that two of them are ``size_mm`` apart."""
    size = np.linalg.norm(points[..., between[0], :] - points[..., between[1], :], axis=-1)
    return (points - points.mean(axis=-2, keepdims=True)) * (size_mm / size)[..., None, None]


def fit_shape(
    points: np.ndarray, between: Sequence[int], size_mm: float, modes: int = MODES
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and principal modes of hands of one side.

    Every hand is scaled to the same size and rotated onto the mean (generalised Procrustes analysis, ten rounds that
    start from the average of the hands as they lie, whose direction is upright then); the principal components of the
    residuals are kept.

    Args:
        points: (N, K, 2) landmarks, pixels of each image, x to the right and y down.
        between: the two landmarks that give the size.
        size_mm: their distance.
        modes: number of components kept at most.

    Returns:
        (K, 2) mean and (M, K, 2) modes times their standard deviation, in mm.
    """
    shapes = scale_to_size(np.asarray(points, dtype=float), between, size_mm)
    mean = shapes.mean(axis=0)
    for _ in range(10):
        shapes = np.stack([rotate_onto(shape, mean) for shape in shapes])
        mean = shapes.mean(axis=0)
    residuals = (shapes - mean).reshape(len(shapes), -1)
    _, singular, components = np.linalg.svd(residuals, full_matrices=False)
    scaled = components[:modes] * (singular[:modes, None] / np.sqrt(len(shapes)))
    return mean, scaled.reshape(-1, *mean.shape)


def layout(value: Any, indent: str = "") -> str:
    """Value as JSON with one landmark, bone or point a line."""
    if isinstance(value, Mapping):
        entries = [f"{json.dumps(key)}: {layout(item, indent + ' ')}" for key, item in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list) and len(value) > 2:
        entries, opening, closing = [json.dumps(item, ensure_ascii=False) for item in value], "[", "]"
    else:
        return json.dumps(value, ensure_ascii=False)
    return f"{opening}\n{indent} " + f",\n{indent} ".join(entries) + f"\n{indent}{closing}"


def add_shape(points: str, landmarks: str, split: str = "train") -> None:
    """Add the statistics of annotated hands to a data file, or replace them.

    Args:
        points: the data file.
        landmarks: table of hands of the side that the data file names, as for the training.
        split: rows of this split alone, all rows where the table has no such column.

    Raises:
        CaseError: when one of them is broken, or fewer than three hands are left.
    """
    content = read_description(points)
    between = index_pair(points, content["names"], content["size"]["between"])
    rows = read_landmark_table(landmarks, len(content["names"]))
    hands = np.array([row.points for row in rows if row.split in (None, split)])
    if len(hands) < 3:
        raise CaseError(landmarks, f"has {len(hands)} rows of the split {split}", "three hands are the least")
    mean, modes = fit_shape(hands, between, float(content["size"]["mm"]))
    shape = {"hands": len(hands), "mean": mean.round(1).tolist(), "modes": modes.round(2).tolist()}
    with atomic_path(points) as path:
        path.write_text(layout({**content, "shape": shape}) + "\n", encoding="utf-8")
    print(f"{points}: shape of {len(hands)} hands, {len(modes)} modes")


if __name__ == "__main__":
    run_command(add_shape)
