"""The one check of every CT before a network sees it: Hounsfield units, size, which way up the body lies."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..geometry.frames import voxel_sizes
from ..geometry.grids import volume_affine
from ..geometry.volume_box import file_name
from .body_check import body_state
from .errors import CaseError
from .hu_check import OTHER_MODALITIES, hu_state, sampled
from .intake import add_facts

logger = logging.getLogger(__name__)

RESCALE_ADVICE = "give the CT with its rescale slope and intercept applied"


def in_hu(volume: MetaTensor) -> MetaTensor:
    """A CT (C, X, Y, Z) in Hounsfield units, with what was done noted in its metadata and said on the terminal.

    Raises:
        CaseError: for what is no CT, or whose values are no HU and cannot be made so without doubt.
    """
    path = file_name(volume)
    if (kind := OTHER_MODALITIES.get(str(volume.meta.get("modality", "")))) is not None:
        raise CaseError(path, f"is {kind} by its header, no CT", "give the CT")
    state = hu_state(sampled(volume))
    if state.problem is not None:
        raise CaseError(path, f"is no CT in HU: {state.problem}", RESCALE_ADVICE)
    if state.shift:
        wide = torch.int32 if not volume.is_floating_point() else volume.dtype
        volume = MetaTensor(volume.as_tensor().to(wide) + state.shift, meta=dict(volume.meta))
        logger.warning("%s: HU repaired, %s", path, state.words)
    warnings = [f"HU repaired: {state.words}"] if state.shift else []
    add_facts(volume, warnings, hu=state.words)
    return volume


def check_body(volume: MetaTensor, least_mm: float) -> None:
    """Refuse a CT that is too thin, or whose header contradicts the body in it, and note what remains doubtful.

    Args:
        volume: (C, X, Y, Z) HU.
        least_mm: its shortest side has to be this long.

    Raises:
        CaseError: with what is wrong.
    """
    path = file_name(volume)
    spacing = voxel_sizes(volume_affine(volume))
    extent = spacing * np.array(volume.shape[1:])
    if extent.min() < least_mm:
        shown = " x ".join(f"{length:.0f}" for length in extent)
        raise CaseError(path, f"is only {shown} mm in size", f"give a CT of at least {least_mm:g} mm on every side")
    state = body_state(volume)
    if state.problem is not None:
        raise CaseError(path, state.problem, "repair its header or convert it again from DICOM")
    if state.warnings:
        logger.warning("%s: %s", path, "; ".join(state.warnings))
    add_facts(volume, state.warnings)


class CheckCTd(MapTransform):
    """Refuse what is no CT of a body, put its Hounsfield units right where that is certain, and note both.

    Args:
        keys: CT (C, X, Y, Z) as :class:`~shared.io.volumes.VolumeReader` gives it.
        least_mm: its shortest side has to be this long.

    Raises:
        CaseError: when called, for anything else.
    """

    def __init__(self, keys: KeysCollection, least_mm: float = 15.0) -> None:
        super().__init__(keys)
        self.least_mm = least_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            output[key] = in_hu(output[key])
            check_body(output[key], self.least_mm)
        return output
