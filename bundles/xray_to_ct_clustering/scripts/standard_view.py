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
from .data_drr import scale_xrays
from .data_protocol import EXTENT_MM
from .intake import Picture
from .shared.drr.render import render
from .shared.itk_images import FWHM_PER_SIGMA
from .shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine

# another position or polarity has to leave this share of the strangeness at most, or the picture stays as it is
CLEARLY, CLEARLY_MIRRORED = 0.8, 0.9
FRAME_BRIGHT = 0.15  # mean of the frame over that of the whole, above which a picture shows more than the volume
FIELD_VOXELS = 32  # along the edge of the cube that the field is rendered from
MAX_GAP_SHARE = 0.4  # of the SDD between patient and detector


@dataclass
class View:
    """One view as the network takes it.

    Attributes:
        image: (rows, columns) float32, scaled.
        geometry: of the cameras; only this view's part counts.
        strangeness: by the model of this view, and by that of the other.
        facts: what is reported.
        warnings: what was assumed or changed.
    """

    image: Tensor
    geometry: BiplanarGeometry
    strangeness: tuple[float, float]
    facts: dict[str, object]
    warnings: list[str]


def view_geometry(picture: Picture, base: BiplanarGeometry, view: str) -> tuple[BiplanarGeometry, dict[str, object]]:
    """Cameras of a picture whose detector shows the same field at the isocentre as in training; what is reported."""
    changes = {} if picture.projection is None else {view: picture.projection}
    known = picture.projection is not None
    facts: dict[str, object] = {"projection": changes.get(view, getattr(base, view))}
    facts["projection_source"] = "file or option" if known else "assumed"
    if base.parallel:
        return dataclasses.replace(base, **changes), facts
    gap = base.sdd_mm - base.source_to_isocenter_mm
    sdd = picture.sdd_mm or base.sdd_mm
    source = picture.source_mm or sdd - min(gap, MAX_GAP_SHARE * sdd)
    if source >= sdd:  # a header that contradicts itself
        source = sdd - min(gap, MAX_GAP_SHARE * sdd)
    pixel_mm = base.isocenter_pixel_mm * sdd / source
    facts |= {
        "sdd_mm": sdd,
        "sdd_source": "assumed" if picture.sdd_mm is None else "file or option",
        "source_to_isocenter_mm": source,
    }
    geometry = dataclasses.replace(base, sdd_mm=sdd, source_to_isocenter_mm=source, pixel_mm=pixel_mm, **changes)
    return geometry, facts


def on_detector(
    pixels: np.ndarray, spacing_mm: tuple[float, float], geometry: BiplanarGeometry
) -> tuple[Tensor, Tensor]:
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


def positions(image: Tensor, turned: bool = True) -> dict[str, Tensor]:
    """A square picture (rows, columns) in all the ways that it can lie; without ``turned`` mirrored alone."""
    found = {"": image, "mirrored": image.flip(1)}
    if turned:
        found |= {"turned by 180°": image.flip(0, 1), "upside down": image.flip(0)}
        quarter = image.mT
        found |= {"turned by 90°": quarter.flip(1), "turned by 270°": quarter.flip(0)}
        found |= {"turned by 90° and mirrored": quarter, "turned by 270° and mirrored": quarter.flip(0, 1)}
    return found


def find_position(
    image: Tensor, covered: Tensor, model: Appearance, view: int, upright: bool, polarity_known: bool
) -> tuple[Tensor, Tensor, list[str]]:
    """The picture in the position and polarity in which it looks most like the training data.

    A change is made only where it makes a clear difference.

    Args:
        image: (rows, columns), 0 beyond the picture.
        covered: (rows, columns), where the picture is.
        model: of the training X-rays.
        view: 0 frontal, 1 lateral.
        upright: whether the position is known.
        polarity_known: whether bright is known to be what absorbs.

    Returns:
        picture, where it is, and what was done to it.
    """
    ways = {"": image} if upright else positions(image, turned=image.shape[0] == image.shape[1])
    places = {"": covered} if upright else positions(covered, turned=image.shape[0] == image.shape[1])
    candidates = {(way, False): picture for way, picture in ways.items()}
    if not polarity_known:
        candidates |= {(way, True): torch.where(places[way], 1 - picture, 0.0) for way, picture in ways.items()}
    values = model.strangeness(scale_xrays(torch.stack(list(candidates.values()))), view)
    strangeness = dict(zip(candidates, values.tolist(), strict=True))
    best = min(strangeness, key=strangeness.__getitem__)
    limit = CLEARLY_MIRRORED if best == ("mirrored", False) else CLEARLY
    if strangeness[best] > limit * strangeness["", False]:
        best = ("", False)
    way, inverted = best
    done = ([way] if way else []) + (["inverted"] if inverted else [])
    return candidates[best], places[way], done


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


def standard_view(picture: Picture, base: BiplanarGeometry, model: Appearance, view: str) -> View:
    """The view that the network takes, see `View`.

    Args:
        picture: of `read_view`.
        base: geometry of the training.
        model: of the training X-rays.
        view: "frontal" or "lateral".
    """
    index = VIEWS.index(view)
    geometry, facts = view_geometry(picture, base, view)
    image, covered = on_detector(picture.pixels, picture.spacing_mm, geometry)
    image, covered, done = find_position(image, covered, model, index, picture.upright, picture.polarity_known)
    image, cut = collimated(image, field(geometry, index))
    warnings = [*picture.warnings]
    if done:
        warnings.append(f"it was taken as {' and '.join(done)} and put right (orientation, absorbing)")
    if facts.get("sdd_source") == "assumed":
        warnings.append(f"its source-to-detector distance is not known: {facts['sdd_mm']:g} mm are assumed (set sdd)")
    scaled = scale_xrays(image)
    strangeness = [float(model.strangeness(scaled[None], number)) for number in (index, 1 - index)]
    report = {**picture.facts, **facts, "changed": done, "cut_to_the_field": cut}
    return View(scaled, geometry, (strangeness[0], strangeness[1]), report, warnings)
