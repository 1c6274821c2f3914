"""A second, finer look at the organs that are only a few voxels wide, in a box that all organs together place.

A small organ may be missed by the first look, or found where it is not. Its place is therefore taken from the typical
arrangement of all organs, moved onto those that were found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import MapTransform
from scipy import ndimage
from skimage.transform import SimilarityTransform
from torch import Tensor, nn

from .cases import MR
from .labels_on_grid import labels_on_grid, target_box
from .laterality import label_centres
from .network_input import network_input
from .organs import OrganTable
from .shared.engines.patches import network_device
from .shared.geometry.frames import transform_points
from .shared.geometry.grids import volume_affine
from .shared.io.weights import load_network
from .transforms import aligned

Array = np.ndarray
LEAST_ORGANS = 4  # that place the others
OUTLIER_MM = 25.0  # farther from its place an organ does not help to place the others
NEAR_MM = 15.0  # a small organ found this close to its expected place is where it was found
ISLAND_SHARE = 0.25  # of the largest part of an organ; smaller parts are taken for mistakes


def typical_centres(table: OrganTable) -> dict[int, Array]:
    """Centre (3,) in RAS mm about their common centre of every organ of which the table knows it."""
    return {organ.number: np.array(organ.centre_mm) for organ in table.organs if organ.centre_mm is not None}


def expected_centres(found: Mapping[int, Array], table: OrganTable) -> dict[int, Array]:
    """Where small organs should lie.

    Args:
        found: label to centre (3,) in RAS mm, of all organs that were found, some of them perhaps wrong.
        table: which ones are small, and where all of them lie in a typical patient.

    Returns:
        label to centre (3,); empty where too few organs were found.
    """
    typical = typical_centres(table)
    organs = [n for n in table.small if n in typical]
    known = sorted(n for n in found if n in typical)
    for _ in range(3):
        if len(known) < LEAST_ORGANS:
            return {}
        source, target = (np.array([centres[n] for n in known]) for centres in (typical, found))
        move = SimilarityTransform.from_estimate(source, target)
        if not move:
            return {}
        away = np.linalg.norm(move(source) - target, axis=1)
        kept = [n for n, distance in zip(known, away, strict=True) if distance <= max(OUTLIER_MM, np.median(away))]
        if len(kept) == len(known):
            break
        known = kept
    places = {n: move(typical[n][None])[0] for n in organs}
    near = {n for n in organs if n in found and np.linalg.norm(found[n] - places[n]) <= NEAR_MM}
    return {n: found[n] if n in near else place for n, place in places.items()}


def box_grid(centres: Sequence[Array], margin_mm: float, spacing_mm: float) -> tuple[Array, tuple[int, int, int]]:
    """Isotropic RAS grid around points (3,) with a margin: affine (4, 4) and size."""
    low, high = np.min(centres, axis=0) - margin_mm, np.max(centres, axis=0) + margin_mm
    x, y, z = (int(n) for n in np.ceil((high - low) / spacing_mm))
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = (low + high) / 2 - (np.array([x, y, z]) - 1) / 2 * spacing_mm
    return affine, (x, y, z)


def merge(labels: Array, fine: Array, inside: tuple[slice, ...], organs: Sequence[int]) -> Array:
    """Label map (X, Y, Z) in which the finer look decides about some organs.

    Args:
        labels: of the first look.
        fine: of the second one, on the voxels ``inside`` of the box.
        inside: where the box lies.
        organs: that the second look decides about. Outside of the box there are none of them.
    """
    result = np.where(np.isin(labels, list(organs)), np.uint8(0), labels)
    part, before = result[inside], labels[inside]
    decided = np.isin(fine, list(organs)) | np.isin(before, list(organs))
    part[decided] = fine[decided]
    return result


def without_islands(labels: Array, share: float = ISLAND_SHARE) -> Array:
    """Label map without the parts of an organ that are much smaller than its largest part."""
    result = labels.copy()
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        parts, count = ndimage.label(labels[box] == index)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            small = np.flatnonzero(sizes < share * sizes.max())
            result[box][np.isin(parts, small[small > 0])] = 0
    return result


def load_fine_network(
    network: nn.Module, ckpt_path: str | os.PathLike | None, device: torch.device | str = "cpu"
) -> nn.Module | None:
    """The network of the second look with its weights; None where no weights are given.

    An empty path counts as none: `monai.bundle run` drops options whose value is None.

    Raises:
        CaseError: as :func:`~.shared.io.weights.load_network`.
    """
    return load_network(network, ckpt_path, device) if ckpt_path else None


class FineLookd(MapTransform):
    """Look again at the small organs of a label map on the grid of the CT.

    Args:
        keys: label map (1, X, Y, Z) uint8 of the first look.
        network: takes what :func:`~.network_input.network_input` makes; None for no second look.
        inferer: that runs it over the box.
        table: which organs it decides about, the small ones, and the windows that show the CT.
        spacing_mm: of the box.
        margin_mm: of the box around the expected centres.
        ct_key: the CT (1, X, Y, Z).
        modalities: that the network sees beside CT and MR; they lie under "aligned_mr" and the like where they are.

    Parts of organs that are much smaller than the largest part are removed afterwards.
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: nn.Module | None,
        inferer: Inferer | Callable[..., Tensor],
        table: OrganTable,
        spacing_mm: float = 1.5,
        margin_mm: float = 18.0,
        ct_key: str = "original",
        modalities: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.network, self.inferer, self.table = network, inferer, table
        self.spacing_mm, self.margin_mm = float(spacing_mm), float(margin_mm)
        self.ct_key, self.keys_of_others = ct_key, [aligned(name) for name in (MR, *modalities)]

    def look(self, labels: Array, affine: Array, ct: MetaTensor, others: Sequence[MetaTensor | None]) -> Array:
        """Label map (X, Y, Z) with its affine (4, 4) after the second look."""
        assert self.network is not None
        expected = expected_centres(label_centres(labels, affine), self.table)
        if not expected:
            return labels
        grid, size = box_grid(list(expected.values()), self.margin_mm, self.spacing_mm)
        box = target_box(grid, size, affine, labels.shape)
        if box is None:
            return labels
        image = network_input(ct, others, grid, size, self.table.windows_hu)[None].to(network_device(self.network))
        with torch.no_grad():
            scores = torch.as_tensor(self.inferer(image, self.network))[0].float().softmax(dim=0)
        moved = affine.copy()
        moved[:3, 3] = transform_points(affine, box[0])
        fine = labels_on_grid(scores, grid, moved, tuple(int(n) for n in box[1] - box[0]))
        return merge(labels, fine, tuple(slice(int(a), int(b)) for a, b in zip(*box, strict=True)), self.table.small)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            first: MetaTensor = output[key]
            labels = first.as_tensor()[0].cpu().numpy()
            if self.network is not None:
                others = [output.get(name) for name in self.keys_of_others]
                labels = self.look(labels, volume_affine(first), output[self.ct_key], others)
            output[key] = MetaTensor(torch.from_numpy(without_islands(labels))[None], meta=dict(first.meta))
        return output
