"""Procedural patients to try the bundle on, to train and to test it: CTs, label maps, and their X-rays.

``python -m scripts.phantoms --output_dir demo --count 2`` writes ``cts/<case>.nii.gz``, ``labels/<case>.nii.gz``
(organs and bones, named in ``labels/names.json``), and of each, as `scripts.render_pairs` does, X-rays in ``xrays`` and
the CT that they show in ``truth``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from .data.patient_ct import make_patient, phantom_image
from .data.patients import FIRST_TEST_PHANTOM, phantom_name, phantom_torso
from .render_pairs import INFERENCE, read_setup, write_pair
from .shared.engines.terminal import run_command
from .shared.io.json_files import write_json
from .shared.io.writers import write_nifti
from .shared.phantoms.torso import TISSUES


def write_phantoms(
    output_dir: str, count: int = 2, seed: int = FIRST_TEST_PHANTOM, fine_mm: float = 2.5, config_file: str = INFERENCE
) -> list[str]:
    """Write phantoms of the thorax; returns the names of the cases.

    Args:
        output_dir: folder.
        count: number of phantoms; phantom i is made from seed + i. Seeds from 9000 on are seen by no training.
        seed: of the first.
        fine_mm: edge of the voxels of CT and label map.
        config_file: whose ``geometry``, ``spacing_mm`` and ``volume_size`` count for the X-rays.
    """
    geometry, spacing_mm, size = read_setup(config_file)
    folder, names = Path(output_dir), []
    for number in range(seed, seed + count):
        case, torso = phantom_name(number), phantom_torso(number, fine_mm)
        for kind, values in (("cts", torso.image), ("labels", torso.tissues)):
            write_nifti(torch.from_numpy(values), torch.from_numpy(torso.affine), folder / kind / f"{case}.nii.gz")
        patient = make_patient(phantom_image(torso.image, torso.affine), case, fine_mm)
        write_pair(patient, folder, size, spacing_mm, geometry)
        names.append(case)
    write_json(folder / "labels" / "names.json", {str(number): name for name, number in TISSUES.items()})
    return names


if __name__ == "__main__":
    run_command(write_phantoms)
