"""Can the result be trusted? Evidence from the X-rays alone, and from the prediction rendered again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .appearance import VIEWS, Appearance
from .intake import Picture
from .shared.drr.similarity import ncc
from .standard_view import PositionedView, positions

SAME = 0.97  # correlation above which two views are one picture
MIDDLE = 0.7  # share of the rows around the middle that count for the profile along the body
MAX_SHIFT = 0.1  # of the image height between the two views


def same_picture(pictures: Sequence[Picture], size: int = 64) -> float:
    """Largest correlation of two X-rays, as their files are, in any position and polarity."""
    reduced = []
    for picture in pictures:
        pixels = torch.from_numpy(picture.pixels.copy())[None, None]
        reduced.append(torch.nn.functional.interpolate(pixels, (size, size), mode="area")[0, 0])
    ways = torch.stack(list(positions(reduced[1]).values()))[:, None]
    return float(ncc(reduced[0][None, None].expand_as(ways), ways).abs().max())


def different_tags(pictures: Sequence[Picture]) -> list[str]:
    """Attributes by which the headers of two X-rays say that they are of different patients or examinations."""
    first, second = (picture.identity for picture in pictures)
    return [tag for tag in first if first[tag] and second.get(tag) and first[tag] != second[tag]]


def row_profiles(images: Tensor) -> Tensor:
    """Sum of the attenuation of each row (2, rows) of both views, in its middle part, without slope, variance 1.

    Every row of a frontal and of a lateral X-ray sees one slice of the body. Both sums of its attenuation are the mass
    of that slice, from whichever side the rays come.
    """
    rows = images.shape[1]
    start = round((1 - MIDDLE) / 2 * rows)
    profile = images.sum(dim=2).double()[:, start : rows - start]
    line = torch.linspace(-1, 1, profile.shape[1], dtype=torch.float64)
    profile = profile - profile.mean(dim=1, keepdim=True)
    profile = profile - (profile @ line)[:, None] / line.square().sum() * line
    return profile / profile.norm(dim=1, keepdim=True).clamp(min=1e-9)


def row_agreement(images: Tensor) -> tuple[float, int]:
    """Correlation of the `row_profiles` of a pair (2, rows, columns), at its best shift, and that shift in rows."""
    reach = round(MAX_SHIFT * images.shape[1])
    found = []
    for shift in range(-reach, reach + 1):
        moved = torch.stack([images[0], images[1].roll(shift, dims=0)])
        first, second = row_profiles(moved)
        found.append((float(first @ second), shift))
    best = max(found, key=lambda entry: (entry[0], -abs(entry[1])))
    return best


def compare_views(views: Sequence[PositionedView], model: Appearance) -> dict[str, Any]:
    """Evidence from a frontal and a lateral X-ray; plain numbers."""
    agreement, shift = row_agreement(torch.stack([view.image for view in views]))
    evidence: dict[str, Any] = {"row_agreement": round(agreement, 4), "row_shift": shift}
    for name, view, limit in zip(VIEWS, views, model.limit.tolist(), strict=True):
        own, other = view.strangeness
        evidence[name] = {
            "strangeness": round(own, 4),
            "strangeness_as_the_other_view": round(other, 4),
            "limit": round(limit, 4),
        }
    return evidence


@dataclass(frozen=True)
class EvidenceLimits:
    """Beyond which a result is not to be trusted.

    Attributes:
        similarity: of an X-ray and the rendering of the volume in the same view, at least.
        strangeness: of an X-ray, over the limit of the training X-rays, at most.
        row_agreement: of the profiles along the body of both views, at least.
        swapped: share of the strangeness as the other view that the strangeness may reach.
    """

    similarity: float = 0.8
    strangeness: float = 1.0
    row_agreement: float = 0.8
    swapped: float = 1.2

    def reasons(self, evidence: Mapping[str, Any], similarity: Sequence[float]) -> list[str]:
        """What speaks against a result, one sentence each; empty where nothing does.

        Args:
            evidence: of `compare_views`.
            similarity: of frontal and lateral view.
        """
        looks = {name: evidence[name] for name in VIEWS}
        other = {
            name: look["strangeness"] > self.swapped * look["strangeness_as_the_other_view"]
            for name, look in looks.items()
        }
        if all(other.values()):
            return ["frontal and lateral view seem to be exchanged"]
        found = [f"the views differ in their {tag}" for tag in evidence.get("differ_in", [])]
        for name, opposite in zip(VIEWS, VIEWS[::-1], strict=True):
            look = looks[name]
            if other[name]:
                found.append(f"the {name} X-ray looks like a {opposite} one")
            elif look["strangeness"] > self.strangeness * look["limit"]:
                found.append(
                    f"the {name} X-ray is unlike the training data "
                    f"({look['strangeness']:.2f}, limit {self.strangeness * look['limit']:.2f})"
                )
        if evidence["row_agreement"] < self.row_agreement:
            found.append(
                "the views do not agree along the body: other patient, other height or not at right angles "
                f"({evidence['row_agreement']:.2f}, limit {self.row_agreement:.2f})"
            )
        for name, value in zip(VIEWS, similarity, strict=True):
            if value < self.similarity:
                found.append(
                    f"the volume does not show what the {name} X-ray shows "
                    f"(similarity {value:.2f}, limit {self.similarity:.2f})"
                )
        return found
