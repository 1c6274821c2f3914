"""From an X-ray of any size and position to the picture that the network takes, on the detector of its training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from .appearance import VIEWS, Appearance
from .data.patient_ct import EXTENT_MM
from .data.rendering import scale_xrays
from .intake import Picture
from .shared.drr.rendering import render
from .shared.io.itk_images import FWHM_PER_SIGMA
from .shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine
from .shared.xray.pixel_size import PixelSize, at_patient, on_detector

# another position or polarity has to leave this share of the strangeness at most, or the picture stays as it is
CLEARLY, CLEARLY_MIRRORED = 0.8, 0.9
FRAME_BRIGHT = 0.15  # mean of the frame over that of the whole, above which a picture shows more than the volume
FIELD_VOXELS = 32  # along the edge of the cube that the field is rendered from
MAX_GAP_SHARE = 0.4  # of the SDD between patient and detector
LEAST_MAGNIFICATION = 1.01  # that tells where the patient is: one of 1 is what headers say that do not know it


@dataclass
class PositionedView:
    """One view as the network takes it.

    Attributes:
        image: (rows, columns) float32, scaled.
        geometry: of the cameras; only this view's part counts.
        strangeness: by the model of this view, and by that of the other.
        facts: what is reported.
        warnings: what was assumed or changed.
        pixel_size: of the file's pixels, what is reported.
        orientation: what says how the patient lies: "header", "option", "recognised" or "unknown".
    """

    image: Tensor
    geometry: BiplanarGeometry
    strangeness: tuple[float, float]
    facts: dict[str, object]
    warnings: list[str]
    pixel_size: dict[str, object]
    orientation: str


def view_geometry(
    picture: Picture, base: BiplanarGeometry, view: str
) -> tuple[BiplanarGeometry, PixelSize, dict[str, object]]:
    """Cameras of a picture whose detector shows the same field at the isocentre as in training.

    Returns:
        cameras; size of the picture's pixels, on their detector too; what is reported.
    """
    known, size = picture.projection is not None, picture.pixel_size
    projection = picture.projection or str(getattr(base, view))
    geometry = dataclasses.replace(
        base,
        frontal=projection if view == "frontal" else base.frontal,
        lateral=projection if view == "lateral" else base.lateral,
    )
    facts: dict[str, object] = {"projection": projection, "projection_source": "file or option" if known else "assumed"}
    if base.parallel:
        return geometry, on_detector(size.mm, size.source), facts
    sdd = picture.sdd_mm or base.sdd_mm
    source, told_by = picture.source_mm, size.magnification_source
    if source is None and size.magnification is not None and size.magnification > LEAST_MAGNIFICATION:
        source = sdd / size.magnification
    if source is None or source >= sdd:  # not known, or distances that contradict each other
        source = sdd - min(base.sdd_mm - base.source_to_isocenter_mm, MAX_GAP_SHARE * sdd)
        told_by = "assumed distances"
    magnification = sdd / source, told_by
    if size.detector_mm is None:
        size = at_patient(size.mm, size.source, None, magnification)
    else:
        size = on_detector(size.detector_mm, size.source, magnification)
    facts |= {
        "sdd_mm": sdd,
        "sdd_source": "assumed" if picture.sdd_mm is None else "file or option",
        "source_to_isocenter_mm": source,
    }
    pixel_mm = base.isocenter_pixel_mm * magnification[0]
    geometry = dataclasses.replace(geometry, sdd_mm=sdd, source_to_isocenter_mm=source, pixel_mm=pixel_mm)
    return geometry, size, facts


def resampled(pixels: np.ndarray, spacing_mm: tuple[float, float], geometry: BiplanarGeometry) -> tuple[Tensor, Tensor]:
    """A picture on the pixels of a detector with the same centre, smoothed where these are larger.

    Args:
        pixels: (rows, columns).
        spacing_mm: between columns and between rows on the detector.
        geometry: whose rows, columns and pixels count.

    Returns:
        (rows, columns) float32, 0 beyond the picture; (rows, columns) bool, where the picture is.
    """
    factors = [geometry.pixel_mm / size for size in spacing_mm[::-1]]
    sigma = [float(np.sqrt(max(factor**2 - 1, 0))) / FWHM_PER_SIGMA for factor in factors]
    smooth = ndimage.gaussian_filter(pixels.astype(np.float32), sigma)
    axes = []
    for factor, length, target in zip(factors, pixels.shape, (geometry.rows, geometry.columns), strict=True):
        steps = torch.arange(target, dtype=torch.float32) - (target - 1) / 2
        axes.append(2 * factor * steps / length)  # -1 and 1 are the outer edges of the picture
    grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)[None]
    image = F.grid_sample(torch.from_numpy(smooth)[None, None], grid, padding_mode="border", align_corners=False)[0, 0]
    covered = (grid[0].abs() <= 1).all(dim=-1)
    return torch.where(covered, image, 0.0), covered


def field(geometry: BiplanarGeometry, view: int) -> Tensor:
    """Share (rows, columns) of each ray that lies in the volume: 1 in the middle, falling off at its edges.

    Training X-rays show a cube and nothing beyond. This is what makes a larger picture look so.
    """
    voxel_mm = EXTENT_MM / FIELD_VOXELS
    cube = torch.ones((1,) + (FIELD_VOXELS,) * 3)
    affine = volume_affine(cube.shape[1:], voxel_mm)
    length = render(cube, geometry.poses()[view], geometry.detector(), affine)[0, 0]
    return (length / EXTENT_MM).clamp(0, 1)


def collimated(image: Tensor, share: Tensor) -> tuple[Tensor, bool]:
    """A picture (rows, columns) cut to the field, and whether it showed anything beyond."""
    outside = share < 0.02
    if not outside.any() or image[outside].mean() <= FRAME_BRIGHT * image.mean():
        return image, False
    return image * share, True


@dataclass(frozen=True)
class Position:
    """A picture put right.

    Attributes:
        image: (rows, columns).
        covered: (rows, columns) bool, where the picture is.
        done: what was done to it.
        sided: whether it is clear which side is left, or front.
        mirrored: whether its mirror image looks clearly more like the training data.
    """

    image: Tensor
    covered: Tensor
    done: list[str]
    sided: bool
    mirrored: bool = False


def positions(image: Tensor, turned: bool = True) -> dict[str, Tensor]:
    """A square picture (rows, columns) in all the ways that it can lie; without ``turned`` mirrored alone."""
    found = {"": image, "mirrored": image.flip(1)}
    if turned:
        found |= {"turned by 180°": image.flip(0, 1), "upside down": image.flip(0)}
        quarter = image.mT
        found |= {"turned by 90°": quarter.flip(1), "turned by 270°": quarter.flip(0)}
        found |= {"turned by 90° and mirrored": quarter, "turned by 270° and mirrored": quarter.flip(0, 1)}
    return found


# The positions that each view is looked for in. A frontal picture is never mirrored: left and right of a chest look
# alike to the model, and a heart on the wrong side would go unseen. A lateral may face either way, and never stands on
# the head: its lower end is no darker or brighter than its upper one.
WAYS = (
    ("", "turned by 180°", "turned by 90°", "turned by 270°"),
    ("", "mirrored", "turned by 90°", "turned by 270°", "turned by 90° and mirrored", "turned by 270° and mirrored"),
)
# each position and the one that looks at it from the other side
TWINS = {
    "": "mirrored",
    "mirrored": "",
    "turned by 180°": "upside down",
    "turned by 90°": "turned by 90° and mirrored",
    "turned by 90° and mirrored": "turned by 90°",
    "turned by 270°": "turned by 270° and mirrored",
    "turned by 270° and mirrored": "turned by 270°",
}


def find_position(
    image: Tensor, covered: Tensor, share: Tensor, model: Appearance, view: int, upright: bool, polarity_known: bool
) -> Position:
    """The picture in the position and polarity in which it looks most like the training data, of those in `WAYS`.

    A change is made only where it makes a clear difference; mirrored pictures differ least.

    Args:
        image: (rows, columns), 0 beyond the picture.
        covered: (rows, columns), where the picture is.
        share: (rows, columns), see `field`.
        model: of the training X-rays.
        view: 0 frontal, 1 lateral.
        upright: whether the position is known.
        polarity_known: whether bright is known to be what absorbs.
    """
    square = image.shape[0] == image.shape[1]
    ways, places = positions(image, square), positions(covered, square)
    candidates = {(way, False): picture for way, picture in ways.items()}
    if not polarity_known:
        candidates |= {(way, True): torch.where(places[way], 1 - picture, 0.0) for way, picture in ways.items()}
    shown = torch.stack([collimated(picture, share)[0] for picture in candidates.values()])
    strangeness = dict(zip(candidates, model.strangeness(scale_xrays(shown), view).tolist(), strict=True))
    allowed = [key for key in candidates if key[0] == "" or (not upright and key[0] in WAYS[view])]
    way, inverted = min(allowed, key=strangeness.__getitem__)
    best, twin = strangeness[way, inverted], strangeness[TWINS[way], inverted]
    sided = upright or best <= CLEARLY_MIRRORED * twin
    if view == 1 and not sided and "mirrored" in way:
        way, best = TWINS[way], twin
    if (way, inverted) != ("mirrored", False) and best > CLEARLY * strangeness["", False]:
        way, inverted = "", False
        best, twin = strangeness["", False], strangeness["mirrored", False]
    done = ([way] if way else []) + (["inverted"] if inverted else [])
    mirrored = view == 0 and not upright and twin < CLEARLY_MIRRORED * best
    return Position(candidates[way, inverted], places[way], done, sided, mirrored)


def standard_view(picture: Picture, base: BiplanarGeometry, model: Appearance, view: str) -> PositionedView:
    """The view that the network takes, see `PositionedView`.

    Args:
        picture: of `read_view`.
        base: geometry of the training.
        model: of the training X-rays.
        view: "frontal" or "lateral".
    """
    index = VIEWS.index(view)
    geometry, size, facts = view_geometry(picture, base, view)
    image, covered = resampled(picture.pixels, size.detector_mm or size.mm, geometry)
    share = field(geometry, index)
    found = find_position(image, covered, share, model, index, picture.orientation != "unknown", picture.polarity_known)
    image, cut = collimated(found.image, share)
    warnings = [*picture.warnings]
    if found.done:
        warnings.append(
            f"it was taken as {' and '.join(found.done)} and put right (set orientation, mirror, absorbing)"
        )
    if found.mirrored:
        warnings.append("it looks like a mirror image, and was taken as it lies (set mirror where it is one)")
    elif not found.sided:
        sides = "left from right" if view == "frontal" else "front from back"
        warnings.append(f"it does not tell {sides} clearly, and was taken as it lies (set mirror)")
    if facts.get("sdd_source") == "assumed":
        warnings.append(f"its source-to-detector distance is not known: {facts['sdd_mm']:g} mm are assumed (set sdd)")
    scaled = scale_xrays(image)
    own, other = (float(model.strangeness(scaled[None], number)) for number in (index, 1 - index))
    turned = any(way != "inverted" for way in found.done)
    recognised = picture.orientation == "unknown" and (turned or (view == "lateral" and found.sided))
    report = {**picture.facts, **facts, "changed": found.done, "cut_to_the_field": cut}
    orientation = "recognised" if recognised else picture.orientation
    return PositionedView(scaled, geometry, (own, other), report, warnings, size.content(), orientation)
