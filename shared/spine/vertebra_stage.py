"""Second stage: one heatmap per vertebra over the region of the spine, tiled along the long axis.

Payer et al., VISAPP 2020 and Medical Image Analysis 54 (2019). All positions are RAS millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from ..engines.patches import Network, run_network, tile_starts
from ..engines.settings import flag
from ..geometry.frames import centred_grid, plain_tensor
from ..geometry.grids import to_grid, volume_affine
from ..geometry.hounsfield import LOWEST_HU
from ..geometry.volume_box import cut_box, file_name, volume_bounds
from ..io.body_check import is_upright
from ..io.errors import CaseError
from .candidates import CHANNELS, Candidate, find_candidates
from .crops import sample_grid
from .field_of_view import FieldOfView
from .hu_window import HU_WINDOW, normalize_hu
from .label_probabilities import label_log_probabilities
from .refine import refine_points
from .ribs import measure_ribs, rib_doubts
from .sequence import SpineLabelling, label_spine
from .spine_stage import SpineRegion
from .statistics import load_statistics

LEAST_PEAK = 0.15
MIN_PEAK = 0.4  # of the second-highest heatmap: hips and heads stay below it, chests and abdomens reach it
LONG_MM, SHORT_SHARE = 150.0, 0.4  # a shorter CT shows few vertebrae with little around them: less is asked of it
SURE_PEAK = 0.45  # of an image in whose levels the network can be trusted
FLIP_RATIO, FLIP_MARGIN = 1.3, 0.5  # how much better a spine has to look the other way up
NO_VERTEBRA_ADVICE = "give a CT that shows a whole vertebra, or --landmarks"
MARGIN_MM = (40.0, 40.0, 100.0)  # beyond the bodies: the first stage may miss an end, and processes reach far


def spine_grid(
    region: SpineRegion,
    bounds: tuple[np.ndarray, np.ndarray],
    spacing_mm: float,
    least: Sequence[int],
    multiple: int,
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A grid along the patient's axes around the region of the spine.

    The box around the vertebral bodies is widened and cut to the image along the long axis; across it the grid may
    reach beyond the image, as in training.

    Args:
        region: from the first stage.
        bounds: corners of the image.
        spacing_mm: of the grid.
        least: smallest number of voxels across, (x, y).
        multiple: every size becomes a multiple of it.

    Returns:
        affine (4, 4), from indices to RAS mm, and size (x, y, z).
    """
    low, high = region.widened(MARGIN_MM)
    low[2], high[2] = max(low[2], bounds[0][2]), min(high[2], bounds[1][2])
    wanted = [max(high[0] - low[0], least[0] * spacing_mm), max(high[1] - low[1], least[1] * spacing_mm)]
    extent = np.array([*wanted, max(high[2] - low[2], spacing_mm)])
    x, y, z = (multiple * math.ceil(length / spacing_mm / multiple - 1e-6) for length in extent)
    return centred_grid((low + high) / 2, (x, y, z), spacing_mm), (x, y, z)


def spine_crop(
    volume: MetaTensor,
    region: SpineRegion,
    spacing_mm: float = 2.0,
    least: Sequence[int] = (80, 96),
    hu_window: Sequence[float] = HU_WINDOW,
    multiple: int = 16,
) -> MetaTensor:
    """Network input of the second stage.

    Args:
        volume: (1, X, Y, Z) HU with its affine.
        region: from the first stage.
        spacing_mm: of the crop.
        least: smallest size of the crop across the long axis.
        hu_window: lowest and highest HU that the network sees.
        multiple: sizes that the network wants.

    Returns:
        (1, x, y, z) normalised intensities along the patient's axes, with their affine.
    """
    affine, size = spine_grid(region, volume_bounds(volume), spacing_mm, least, multiple)
    low, high = affine[:3, 3], affine[:3, 3] + np.array(size) * spacing_mm
    working = to_grid(cut_box(volume, low, high), spacing_mm)
    values = normalize_hu(sample_grid(working, affine, size, LOWEST_HU), hu_window)
    return MetaTensor(values, affine=torch.as_tensor(affine))


def place_heatmaps(heatmaps: Tensor, crop: MetaTensor) -> MetaTensor:
    """Heatmaps (K, x, y, z) with their affine: their index i lies on index s * i of the crop (1, s * x, ...)."""
    stride = crop.shape[1] // heatmaps.shape[1]
    affine = volume_affine(crop) @ np.diag([stride, stride, stride, 1.0])
    return MetaTensor(plain_tensor(heatmaps), affine=torch.as_tensor(affine))


def tiled_heatmaps(crop: Tensor, network: Network, tile: int = 160, step: int = 112, amp: bool = True) -> Tensor:
    """Heatmaps of a long crop: tiles along its last axis, joined by the maximum.

    Args:
        crop: (1, X, Y, Z) normalised intensities.
        network: (1, 1, X, Y, tile) to (1, K, X / s, Y / s, tile / s); every start and size is a multiple of s.
        tile: voxels of a tile along the last axis.
        step: between tiles.
        amp: whether to reduce the precision.

    Returns:
        (K, X / s, Y / s, Z / s) float32 on the CPU.
    """
    size = crop.shape[-1]
    joined: Tensor | None = None
    for start in tile_starts(size, tile, step):
        part = crop[..., start : start + tile]
        heatmaps = run_network(network, part[None], amp)[0].cpu()
        stride = part.shape[-1] // heatmaps.shape[-1]
        if joined is None:
            joined = torch.full((*heatmaps.shape[:-1], size // stride), -torch.inf)
        place = joined[..., start // stride : start // stride + heatmaps.shape[-1]]
        torch.maximum(place, heatmaps, out=place)
    assert joined is not None
    return joined


class TiledInferer(Inferer):
    """:func:`tiled_heatmaps` as an inferer: (1, 1, X, Y, Z) to (1, K, X / s, Y / s, Z / s) on the CPU."""

    def __init__(self, tile: int = 160, step: int = 112, amp: bool = True) -> None:
        super().__init__()
        self.tile, self.step, self.amp = tile, step, flag("amp", amp)

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        crop = plain_tensor(inputs)[0]
        return tiled_heatmaps(crop, network, self.tile, self.step, self.amp)[None]


def is_upside_down(candidates: Sequence[Candidate], min_score: float = 0.3, fewest: int = 4) -> bool:
    """Whether the vertebrae that are recognised best lie in reverse order: the header says that up is down.

    Args:
        candidates: of the heatmaps.
        min_score: of a candidate that counts.
        fewest: labels that it takes.
    """
    best: dict[int, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.score):
        best[candidate.label] = candidate
    sure = [best[label] for label in CHANNELS if label in best and best[label].score >= min_score]
    if len(sure) < fewest:
        return False
    heights = np.array([float(candidate.position_mm[2]) for candidate in sure])
    return bool(np.corrcoef(np.arange(len(sure)), heights)[0, 1] > 0.5)


def clear_peak(heatmaps: MetaTensor, least: float = LEAST_PEAK) -> float:
    """Height of a clear detection in the heatmaps (27, x, y, z) of one CT: the median of the five highest heatmaps.

    A network is surer of some scanners than of others; what tells the vertebrae apart is how the heights compare.

    Args:
        heatmaps: of one CT.
        least: no lower height is a clear detection.
    """
    highest = heatmaps.as_tensor().flatten(1).amax(dim=1)
    return max(least, float(highest.topk(min(5, len(highest))).values.median()))


def check_seen(heatmaps: MetaTensor, volume: MetaTensor, min_peak: float = MIN_PEAK) -> None:
    """Refuse a CT in whose heatmaps (27, x, y, z) nothing stands out: hips, a head, an arm beside the spine.

    Two heatmaps have to reach ``min_peak``; a share of it in a CT (1, X, Y, Z) that is short along the body.

    Raises:
        CaseError: when they do not.
    """
    highest = heatmaps.as_tensor().flatten(1).amax(dim=1)
    reached = float(highest.topk(2).values[-1])
    low, high = volume_bounds(volume)
    needed = min_peak * (1.0 if high[2] - low[2] > LONG_MM else SHORT_SHARE)
    if not reached >= needed:  # NaN as well
        problem = f"shows no vertebra clearly (heatmaps reach {reached:.2f}, {needed:.2f} needed)"
        raise CaseError(file_name(volume), problem, NO_VERTEBRA_ADVICE)


def label_heatmaps(
    heatmaps: MetaTensor,
    volume: MetaTensor,
    peak: float | Sequence[float] | None = None,
    min_score: float = 0.1,
    min_peak: float = MIN_PEAK,
) -> SpineLabelling:
    """The labelled spine of heatmaps; without points where no vertebra can be labelled.

    Ribs that contradict the names make the level uncertain; they change no name.

    Args:
        heatmaps: (27, x, y, z) with their affine.
        volume: the CT, whose ends cut the spine.
        peak: height of a clear detection, one number or one per heatmap; :func:`clear_peak` of the CT where None.
        min_score: of a candidate, as a share of the peak.
        min_peak: as :func:`check_seen` takes it.

    Raises:
        CaseError: when no vertebra stands out, or they lie in reverse order and the body does not say otherwise.
    """
    check_seen(heatmaps, volume, min_peak)
    height = clear_peak(heatmaps) if peak is None else peak
    candidates = find_candidates(heatmaps, volume_affine(heatmaps), min_score=min_score, peak=height)
    if is_upside_down(candidates) and not is_upright(volume):
        raise upside_down(volume)
    statistics = load_statistics()
    view = FieldOfView(volume_affine(volume), volume.shape[1:])
    beliefs = partial(label_log_probabilities, heatmaps.as_tensor(), volume_affine(heatmaps))
    labelling = label_spine(candidates, statistics, view, beliefs=beliefs)
    points = refine_points(heatmaps, labelling.points, statistics, float(np.mean(height)))
    if peak is None and isinstance(height, float) and height < SURE_PEAK:
        reasons = [f"level uncertain: the vertebrae are seen faintly, {height:.2f} of 1", *labelling.reasons]
        labelling = replace(labelling, uncertain=True, reasons=reasons)
    ribs = measure_ribs(volume, points)
    if doubts := rib_doubts(ribs):
        labelling = replace(
            labelling, uncertain=True, reasons=[f"level uncertain: {', '.join(doubts)}", *labelling.reasons]
        )
    return replace(labelling, points=points, ribs=ribs)


def upside_down(volume: MetaTensor) -> CaseError:
    """The refusal of a CT (1, X, Y, Z) whose header puts the head at the bottom."""
    return CaseError(file_name(volume), "seems to be upside down", "repair its header or convert it again from DICOM")


def check_labelling(labelling: SpineLabelling, volume: MetaTensor) -> None:
    """Refuse a CT (1, X, Y, Z) without a vertebra that could be labelled.

    Raises:
        CaseError: with the reasons.
    """
    if not labelling.points:
        problem = f"shows no vertebra that could be labelled ({'; '.join(labelling.reasons)})"
        raise CaseError(file_name(volume), problem, NO_VERTEBRA_ADVICE)


class VertebraStage:
    """The second stage as a whole.

    Args:
        network: as :func:`tiled_heatmaps` wants it.
        spacing_mm, least, hu_window: as :func:`spine_crop` takes them.
        tile, step: as :func:`tiled_heatmaps` takes them.
        peak, min_score, min_peak: as :func:`label_heatmaps` takes them.
        amp: whether to reduce the precision.
    """

    def __init__(
        self,
        network: Network,
        spacing_mm: float = 2.0,
        least: Sequence[int] = (80, 96),
        tile: int = 160,
        step: int = 112,
        peak: float | Sequence[float] | None = None,
        min_score: float = 0.1,
        min_peak: float = MIN_PEAK,
        amp: bool = True,
        hu_window: Sequence[float] = HU_WINDOW,
    ) -> None:
        self.network, self.spacing_mm, self.least, self.hu_window = network, spacing_mm, least, hu_window
        self.inferer = TiledInferer(tile, step, amp)
        self.peak, self.min_score, self.min_peak = peak, min_score, min_peak

    def __call__(self, volume: MetaTensor, region: SpineRegion) -> tuple[SpineLabelling, MetaTensor]:
        """The labelled spine, and the heatmaps (27, x, y, z) with their affine.

        Raises:
            CaseError: as :func:`label_heatmaps`.
        """
        crop = spine_crop(volume, region, self.spacing_mm, self.least, self.hu_window)
        heatmaps = place_heatmaps(self.inferer(crop[None], self.network)[0], crop)
        labelling = label_heatmaps(heatmaps, volume, self.peak, self.min_score, self.min_peak)
        if labelling.uncertain and not is_upright(volume):
            self.check_upright(crop, heatmaps, volume)
        check_labelling(labelling, volume)
        return labelling, heatmaps

    def check_upright(self, crop: MetaTensor, heatmaps: MetaTensor, volume: MetaTensor) -> None:
        """Look at a spine that is hard to label the other way up as well.

        Args:
            crop: input of the network.
            heatmaps: of the crop.
            volume: the CT.

        Raises:
            CaseError: when the spine looks clearly more like one the other way up.
        """
        for axes in ((3,), (2, 3)):  # mirrored, and turned by half a circle
            mirrored = crop.as_tensor().flip(axes)
            turned = place_heatmaps(self.inferer(mirrored[None], self.network)[0], crop)
            own, other = self.totals(heatmaps, turned)
            if other > FLIP_RATIO * own + FLIP_MARGIN:
                raise upside_down(volume)

    def totals(self, first: MetaTensor, second: MetaTensor) -> tuple[float, float]:
        """How well the best labellings of two sets of heatmaps explain them, by the same height of a clear peak."""
        height = max(clear_peak(first), clear_peak(second)) if self.peak is None else self.peak
        found = [
            label_spine(find_candidates(maps, volume_affine(maps), min_score=self.min_score, peak=height)).total
            for maps in (first, second)
        ]
        return found[0], found[1]
