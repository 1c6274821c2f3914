"""Training cases: which ones, and their images on the working grid, prepared once and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform

from .cases import MR, find_han_cases
from .contours import read_han_case, validity_mask
from .labels_on_grid import labels_on_grid
from .mr_registration import Alignment, align_mr
from .network_input import (
    AIR_HU,
    MR_SCALE,
    aligned_image,
    as_volume,
    masked_channels,
    on_grid,
    other_channels,
    windowed,
    working_grid,
)
from .organs import OrganTable, drawn_numbers
from .phantoms.dataset import write_head_neck_dataset
from .shared.geometry.frames import motion_lps_to_ras
from .shared.io.errors import CaseError
from .shared.io.itk_images import read_image, to_sitk
from .shared.io.prepared_folder import prepared_folder
from .shared.training.seeding import mix_seed

Array = np.ndarray
PREPARATION = 3  # number of the way of preparing; a new one makes what older versions have kept unusable
REGISTRATION_MM = 2.0  # voxels of the CT to which an MR is registered


def phantom_cases(count: int, folder: str | os.PathLike, table: OrganTable, seed: int = 20000) -> list[dict[str, Any]]:
    """Procedural heads and necks, written where they are not there yet.

    Args:
        count: how many.
        folder: where they are kept.
        table: organs that count.
        seed: phantom i is made from seed + i.
    """
    if count > 0 and not (Path(folder) / f"head_{seed + count - 1:05d}").is_dir():
        write_head_neck_dataset(str(folder), count, seed)
    found = find_han_cases(folder, table)[:count] if count > 0 else []
    return [{**case, "phantom": True} for case in found]


def check_reference(cases: Sequence[dict[str, Any]], root: str | os.PathLike) -> list[dict[str, Any]]:
    """Cases of a training set.

    Raises:
        CaseError: for a folder that is wrong, or a case without contours.
    """
    for case in cases:
        if "problem" in case:
            raise CaseError(*case["problem"])
        if not {"organs", "labels"} & set(case):
            raise CaseError(case["ct"], "has no contours to learn from", "add them, or move the case elsewhere")
    if not cases:
        raise CaseError(root, "holds no case", "give a folder of cases in the form of HaN-Seg, NIfTI or OpenKBP")
    return list(cases)


def split_cases(
    cases: Sequence[dict[str, Any]], split: str, shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0
) -> list[dict[str, Any]]:
    """Patients of one part, whole patients and never slices.

    Args:
        cases: all.
        split: "train", "val" or "test".
        shares: of the three parts.
        seed: of the order in which patients are dealt out.
    """
    order = np.random.default_rng(seed).permutation(len(cases))
    ends = np.round(np.cumsum([0.0, *shares]) / sum(shares) * len(cases)).astype(int)
    part = ("train", "val", "test").index(split)
    return [cases[int(index)] for index in sorted(order[ends[part] : ends[part + 1]])]


def han_datalist(
    dataset_dir: str | os.PathLike,
    split: str,
    table: OrganTable,
    phantoms: int = 0,
    phantom_dir: str | os.PathLike = "",
    modalities: Sequence[str] = (),
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    limit: int = 0,
) -> list[dict[str, Any]]:
    """Cases for training or validation.

    Where the folder has the subfolders ``train`` and ``validation`` they decide; otherwise the patients are dealt out.
    Phantoms are split likewise, with a tenth of them for validation, and stand behind the patients.

    Args:
        dataset_dir: cases; empty for phantoms alone.
        split: "train", "val" or "test".
        table: organs that count.
        phantoms: number of procedural heads beside the patients.
        phantom_dir: where these are kept.
        modalities: further ones that are looked for.
        shares: of training, validation and test.
        seed: of the split.
        limit: of the cases of each kind, spread evenly over the list; 0 for all.

    Raises:
        CaseError: see :func:`check_reference`.
    """
    parts = []
    if str(dataset_dir):
        root = Path(dataset_dir)
        own = root / {"train": "train", "val": "validation", "test": "test"}[split]
        if (root / "train").is_dir() and (root / "validation").is_dir():
            parts.append(check_reference(find_han_cases(own, table, modalities=modalities), own))
        else:
            parts.append(
                split_cases(check_reference(find_han_cases(root, table, None, modalities), root), split, shares, seed)
            )
    parts.append(split_cases(phantom_cases(phantoms, phantom_dir, table), split, (0.9, 0.1, 0.0), seed))
    if limit > 0:
        spread = [np.unique(np.linspace(0, len(part) - 1, min(limit, len(part))).astype(int)) for part in parts]
        parts = [[part[int(i)] for i in index] for part, index in zip(parts, spread, strict=True)]
    return [case for part in parts for case in part]


def known_alignment(case: Mapping[str, Any], seed: int) -> Alignment | None:
    """The true motion of a phantom's MR, missed by about as much as a registration misses it; None for a patient.

    A registration of every training case takes longer than the training on phantoms.
    """
    path = Path(case["ct"]).parent / "phantom.json"
    if not path.is_file():
        return None
    rng = np.random.default_rng(seed)
    matrix = motion_lps_to_ras(json.loads(path.read_text())["mr_to_ct_ras_mm"])
    matrix[:3, 3] += rng.normal(0, 0.3, 3)
    return Alignment(matrix, 1.0, 1.0, 0.0)


def linear_labels(labels: MetaTensor, affine: Array, size: tuple[int, ...]) -> Array:
    """Label map (1, X, Y, Z) on another grid: the label with the largest trilinear share. uint8 (*size)."""
    array = labels.as_tensor()[0]
    present = torch.unique(array)  # ascending
    shares = torch.stack([(array == number).to(torch.uint8) for number in present])
    index = labels_on_grid(shares, np.asarray(labels.affine, float), affine, size)
    # what lies beyond the label map has index 0: the background, unless every voxel of the map has a label
    return present.numpy().astype(np.uint8)[index] if int(present[0]) == 0 else np.zeros(size, np.uint8)


class PrepareHan(Transform):
    """Read a case, bring it onto the working grid, and keep that; later calls map the kept files into memory.

    Args:
        cache_dir: where prepared cases are kept, a folder each.
        spacing_mm: of the working grid.
        table: organs that count.
        modalities: further images of a case, which lie in the world of the CT as their headers say.

    Returns (of the call): "case"; "hu" int16 (x, y, z); "mr" uint8 (C, x, y, z), what
    :func:`~.network_input.other_channels` gives times 255, empty (0, …) for CT alone; "mr_channels", this C; "labels"
    uint8 (x, y, z); "valid" float32 (K,); "affine" (4, 4).

    Raises:
        CaseError: for files that cannot be used.
    """

    def __init__(
        self, cache_dir: str | os.PathLike, spacing_mm: float, table: OrganTable, modalities: Sequence[str] = ()
    ) -> None:
        self.cache_dir, self.spacing_mm, self.table = Path(cache_dir), float(spacing_mm), table
        self.modalities = tuple(modalities)

    def key(self, case: Mapping[str, Any]) -> str:
        """Name of the folder in which a case is kept: changes with its files, the spacing and the table of organs."""
        organs = case.get("organs", {}).values()
        paths = [*(case[k] for k in ("ct", MR, "labels", *self.modalities) if k in case), *organs]
        states = [os.stat(path) for path in paths]
        numbers = [PREPARATION, round(1000 * self.spacing_mm), *(int(s.st_mtime_ns) ^ s.st_size for s in states)]
        files = {stem: dict(numbers) for stem, numbers in self.table.label_files.items()}
        table = [list(self.table.names.values()), files, self.modalities]
        numbers += [*str(Path(case["ct"]).resolve()).encode(), *json.dumps(table).encode()]
        return f"{case['case']}-{mix_seed(*numbers):08x}"

    def prepare(self, case: Mapping[str, Any], folder: Path) -> None:
        """Write the prepared case into a folder."""
        read = read_han_case(dict(case), self.table)
        assert read.labels is not None
        ct = as_volume(read.ct)
        affine, size = working_grid(ct, self.spacing_mm)
        hu = on_grid(ct, affine, size, AIR_HU)[0]
        np.save(folder / "hu.npy", hu.round().clamp(AIR_HU, 3071).to(torch.int16).numpy())
        np.save(folder / "labels.npy", linear_labels(as_volume(read.labels), affine, size))
        images: list[MetaTensor | None] = [None]
        if read.mr is not None:
            found = known_alignment(case, len(read.case)) or self.register(ct, read.mr)
            images[0] = aligned_image(read.mr, found.matrix) if found.accepted else None
        for name in self.modalities:
            path = case.get(name)
            images.append(None if path is None else aligned_image(read_image(path, allow_constant=True), np.eye(4)))
        if any(image is not None for image in images):
            others = (other_channels(images, affine, size) * MR_SCALE).round().to(torch.uint8).numpy()
        else:
            others = np.zeros((0, *size), np.uint8)
        np.save(folder / "mr.npy", others)
        np.savez(folder / "known.npz", affine=affine, valid=validity_mask(read.valid, len(self.table)))

    @staticmethod
    def register(ct: MetaTensor, mr: Any) -> Alignment:
        """Registration as inference does it."""
        affine, size = working_grid(ct, REGISTRATION_MM)
        return align_mr(to_sitk(on_grid(ct, affine, size, AIR_HU)[0].numpy(), affine), mr)

    def folder(self, case: Mapping[str, Any]) -> Path:
        """The folder of a prepared case, made if it is not there yet; whole or not at all."""
        return prepared_folder(self.cache_dir / self.key(case), lambda part: self.prepare(case, part))

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        folder = self.folder(data)
        known = np.load(folder / "known.npz")
        arrays: dict[str, Any] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("hu", "mr", "labels")
        }
        arrays["mr_channels"] = 2 + len(self.modalities)
        return {"case": data["case"], **arrays, "affine": known["affine"], "valid": known["valid"]}


class OnlyOrgans(Transform):
    """Forget the contours of organs that a network does not draw.

    Args:
        table: all organs.
        organs: names of those that it draws; all where empty.

    Takes and returns what :class:`PrepareHan` gives.
    """

    def __init__(self, table: OrganTable, organs: Sequence[str] = ()) -> None:
        self.drawn = np.isin(np.arange(len(table) + 1), [0, *drawn_numbers(table, organs, "--drawn_organs")])

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if self.drawn.all():
            return dict(data)
        labels = np.where(self.drawn[data["labels"]], data["labels"], np.uint8(0))
        return {**data, "labels": labels, "valid": data["valid"] * self.drawn.astype(data["valid"].dtype)}


def mixed_epoch(cases: Sequence[Mapping[str, Any]], samples: int, patient_share: float = 0.5) -> list[dict[str, Any]]:
    """The samples of an epoch, of patients and of phantoms evenly in turn where there are both.

    Which case a sample is taken from is decided anew in every epoch (:class:`PickCase`).

    Args:
        cases: of :func:`han_datalist`.
        samples: length of the list.
        patient_share: share of the patients, 0 to 1.

    Returns:
        "cases": all cases of the sample's kind.
    """
    patients = [case for case in cases if not case.get("phantom")]
    phantoms = [case for case in cases if case.get("phantom")]
    if not patients or not phantoms:
        return [{"cases": patients or phantoms}] * samples
    turns = np.diff(np.ceil(np.arange(samples + 1) * patient_share - 1e-9)) > 0
    return [{"cases": patients if turn else phantoms} for turn in turns]


class PickCase(Randomizable, Transform):
    """One of the "cases" of an item at random; an item without them is a case itself."""

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return data["cases"][self.R.randint(len(data["cases"]))] if "cases" in data else data


class WholeCase(Transform):
    """A whole prepared case as input of a network.

    Args:
        table: whose windows show the CT.

    Takes what :class:`PrepareHan` gives. Returns "case", "image" (channels, x, y, z), "labels"
    (1, x, y, z) uint8, "valid" (K,).
    """

    def __init__(self, table: OrganTable) -> None:
        self.windows_hu = table.windows_hu

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        hu = torch.from_numpy(np.array(data["hu"]))[None].float()
        others = torch.zeros(data["mr_channels"], *hu.shape[1:])
        if len(data["mr"]):
            others = masked_channels(torch.from_numpy(np.array(data["mr"])))
        image = torch.cat([windowed(hu, self.windows_hu), others])
        labels = torch.from_numpy(np.array(data["labels"]))[None]
        valid = torch.from_numpy(np.array(data["valid"]))
        return {"case": data["case"], "image": image, "labels": labels, "valid": valid}
