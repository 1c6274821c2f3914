"""Random crops for training: one composed look-up moves, bends and scales a CT, its labels and its landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..geometry.deform import Deformation, random_controls
from ..geometry.frames import plain_tensor, transform_points
from ..geometry.grids import volume_affine
from .crops import sample_indices

FOLD_LIMIT = 0.38  # largest displacement of a control point as a fraction of the distance between two


@dataclass(frozen=True)
class CropRanges:
    """CropRanges of a random crop, each drawn uniformly from +- the value.

    Attributes:
        translate_mm: shift along each axis.
        rotate: angle about each axis in rad.
        scale: fraction, once overall and once per axis.
        elastic_mm: displacement of the control points of the B-spline; less where it would fold the crop.
        elastic_grid: control points per axis.
        flip_prob: how often left and right are exchanged.
    """

    translate_mm: Sequence[float] | float = 30.0
    rotate: float = 0.25
    scale: float = 0.15
    elastic_mm: float = 25.0
    elastic_grid: int = 6
    flip_prob: float = 0.5


def draw_crop(
    centre_ras_mm: np.ndarray, size: Sequence[int], spacing_mm: float, ranges: CropRanges, random: np.random.RandomState
) -> Deformation:
    """A random map from indices of a crop to RAS mm.

    Args:
        centre_ras_mm: (3,), what the crop is centred on before it is shifted.
        size: of the crop.
        spacing_mm: of its voxels.
        ranges: of the randomness.
        random: its source.
    """
    zooms = (1 + ranges.scale * random.uniform(-1, 1)) * (1 + ranges.scale * random.uniform(-1, 1, size=3))
    turn = Rotation.from_euler("xyz", ranges.rotate * random.uniform(-1, 1, size=3)).as_matrix()
    mirror = np.diag([-1.0 if random.uniform() < ranges.flip_prob else 1.0, 1.0, 1.0])
    shift = np.asarray(ranges.translate_mm) * random.uniform(-1, 1, size=3)
    linear = turn @ np.diag(zooms) @ mirror * spacing_mm
    middle = (np.asarray(size) - 1) / 2
    matrix = np.concatenate([linear, (np.asarray(centre_ras_mm) + shift - linear @ middle)[:, None]], axis=1)
    generator = torch.Generator().manual_seed(int(random.randint(2**31)))
    magnitude = min(ranges.elastic_mm / spacing_mm, FOLD_LIMIT * min(size) / (ranges.elastic_grid - 1))
    magnitude *= random.uniform()  # crops from straight to strongly bent
    controls = random_controls(generator, 3, ranges.elastic_grid, float(magnitude), tuple(size))
    return Deformation(torch.as_tensor(matrix), controls, tuple(size))


def straight_crop(centre_ras_mm: np.ndarray, size: Sequence[int], spacing_mm: float) -> Deformation:
    """The map of a crop without any randomness."""
    middle = (np.asarray(size) - 1) / 2
    linear = np.eye(3) * spacing_mm
    matrix = np.concatenate([linear, (np.asarray(centre_ras_mm) - linear @ middle)[:, None]], axis=1)
    return Deformation(torch.as_tensor(matrix), None, tuple(size))


def bent_indices(crop: Deformation) -> Tensor:
    """(X, Y, Z, 3): indices of a crop after its elastic part, before its matrix; the same for every volume."""
    identity = torch.eye(3, 4)
    return Deformation(identity, crop.controls, crop.output_shape).grid()


def crop_matrix(volume: Tensor, crop: Deformation) -> Tensor:
    """(4, 4) float32 that takes what :func:`bent_indices` gives to the array indices of a volume with its affine."""
    whole = np.eye(4)
    whole[:3] = crop.matrix.double().numpy()
    return torch.as_tensor(np.linalg.inv(volume_affine(volume)) @ whole).float()


def crop_volume(volume: Tensor, crop: Deformation, bent: Tensor, fill: float, labels: bool = False) -> Tensor:
    """A volume (C, X, Y, Z) with its affine, sampled by a crop; ``bent`` comes from :func:`bent_indices`."""
    matrix = crop_matrix(volume, crop)
    indices = transform_points(matrix, bent)
    return sample_indices(volume, indices, fill, labels)


class RandCTAppearanced(Randomizable, MapTransform):
    """Random intensities of normalised crops (1, X, Y, Z): what scanners, doses and reconstructions do.

    A smooth change of the scale of the bone, contrast, brightness, gamma, blur along one axis (thick slices) and noise.

    Args:
        keys: normalised crops, -1 (air) to 1.
        shift: +- on the whole range.
        scale: +- fraction.
        gamma: smallest and largest exponent.
        noise: largest standard deviation.
        blur_voxels: largest standard deviation of the blur.
        prob: of gamma, noise and blur each.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        shift: float = 0.08,
        scale: float = 0.25,
        gamma: Sequence[float] = (0.8, 1.25),
        noise: float = 0.05,
        blur_voxels: float = 1.2,
        prob: float = 0.5,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.shift, self.scale, self.gamma = shift, scale, gamma
        self.noise, self.blur_voxels, self.prob = noise, blur_voxels, prob

    def change(self, image: Tensor) -> Tensor:
        if self.R.rand() < self.prob:
            image = image + self.R.uniform(0, self.noise) * torch.from_numpy(
                self.R.standard_normal(image.shape).astype(np.float32)
            )
        if self.R.rand() < self.prob:
            axis = int(self.R.choice([1, 2, 3], p=[0.2, 0.2, 0.6]))
            image = smooth_axis(image, axis, self.R.uniform(0.2, self.blur_voxels))
        image = image * self.R.uniform(1 - self.scale, 1 + self.scale) + self.R.uniform(-self.shift, self.shift)
        if self.R.rand() < self.prob:
            image = ((image + 1) / 2).clamp(min=0) ** self.R.uniform(self.gamma[0], self.gamma[1]) * 2 - 1
        return image.clamp(-1, 1)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.change(plain_tensor(result[key]))  # MONAI's transforms before it add metadata
        return result


def smooth_axis(image: Tensor, axis: int, sigma: float) -> Tensor:
    """A tensor (C, X, Y, Z) smoothed along one axis with a Gaussian of ``sigma`` voxels."""
    radius = int(np.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    pads = [0] * 6
    pads[2 * (3 - axis)] = pads[2 * (3 - axis) + 1] = radius
    padded = torch.nn.functional.pad(image[None], pads, mode="replicate")[0]
    size = image.shape[axis]
    result = torch.zeros_like(image)
    for start, weight in enumerate(weights.tolist()):
        result += weight * padded.narrow(axis, start, size)
    return result
