"""Writing phantoms as a data set: images, label maps, centroids in the VerSe form and the list of cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from ...io.writers import write_nifti
from .phantom import TorsoPhantom, make_torso

COLUMNS = ("name", "type", "image_path", "mask_path", "centroid_json_path")


def verse_centroids(phantom: TorsoPhantom) -> list[dict[str, Any]]:
    """Centroids in the current VerSe form: the axis directions, then voxel positions X, Y, Z per label."""
    codes = nib.orientations.aff2axcodes(phantom.affine)
    entries: list[dict[str, Any]] = [{"direction": list(codes)}]
    for label, index in phantom.index_centres().items():
        x, y, z = (round(float(v), 2) for v in index)
        entries.append({"label": int(label), "X": x, "Y": y, "Z": z})
    return entries


def write_torso(phantom: TorsoPhantom, folder: Path, case: str) -> dict[str, str]:
    """Write one phantom; returns its row of the list, paths relative to the folder."""
    names = {"image": f"{case}_ct.nii.gz", "mask": f"{case}_seg.nii.gz", "centroid_json": f"{case}_ctd.json"}
    write_nifti(phantom.image, phantom.affine, folder / names["image"])
    write_nifti(phantom.labels, phantom.affine, folder / names["mask"])
    (folder / names["centroid_json"]).write_text(json.dumps(verse_centroids(phantom)))
    return {"name": case, "type": "phantom", **{f"{key}_path": name for key, name in names.items()}}


def write_torso_dataset(
    output_dir: str,
    count: int = 4,
    seed: int = 0,
    spacing_mm: Sequence[float] | float | None = None,
    region: str | tuple[str, str] = "random",
    anomalies: bool | Iterable[str] = True,
    orientation: str = "random",
    field_of_view: str = "random",
) -> str:
    """Write phantoms and `cases.csv`; the arguments after `seed` are those of `make_torso`.

    Args:
        output_dir: folder, made if it does not exist.
        count: number of phantoms; phantom i is made from seed + i.
        spacing_mm: voxel size, one number or three; random where left out.

    Returns:
        path of the list.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    spacing = [float(spacing_mm)] * 3 if isinstance(spacing_mm, int | float) else spacing_mm
    rows = []
    for number in range(seed, seed + count):
        phantom = make_torso(number, spacing, region, anomalies, orientation, field_of_view)
        rows.append(write_torso(phantom, folder, f"torso_{number:05d}"))
    path = folder / "cases.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)
