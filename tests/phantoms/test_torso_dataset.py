"""Data sets of torso phantoms: the files read back as what was made."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from shared.phantoms.torso import make_torso, write_torso_dataset

REGION, SPACING = ("L1", "L3"), 4.0


def test_files_read_back(tmp_path: Path) -> None:
    table = write_torso_dataset(str(tmp_path), 2, seed=30, spacing_mm=SPACING, region=REGION, orientation="PIR")
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["torso_00030", "torso_00031"]
    assert list(rows[0]) == ["name", "type", "image_path", "mask_path", "centroid_json_path"]
    made = make_torso(30, (SPACING,) * 3, REGION, orientation="PIR")
    image = nib.load(tmp_path / rows[0]["image_path"])
    mask = nib.load(tmp_path / rows[0]["mask_path"])
    assert np.array_equal(np.asarray(image.dataobj), made.image)
    assert np.array_equal(np.asarray(mask.dataobj), made.labels) and mask.get_data_dtype() == np.uint8
    assert np.allclose(image.affine, made.affine, atol=1e-3) and nib.aff2axcodes(image.affine) == ("P", "I", "R")


def test_centroids_agree_with_simpleitk(tmp_path: Path) -> None:
    write_torso_dataset(str(tmp_path), 1, seed=31, spacing_mm=SPACING, region=REGION, orientation="LPS")
    made = make_torso(31, (SPACING,) * 3, REGION, orientation="LPS")
    reference = sitk.ReadImage(str(tmp_path / "torso_00031_ct.nii.gz"))
    first, *entries = json.loads((tmp_path / "torso_00031_ctd.json").read_text())
    assert first == {"direction": ["L", "P", "S"]}
    assert {entry["label"] for entry in entries} == set(made.body_centres)
    for entry in entries:
        point = reference.TransformContinuousIndexToPhysicalPoint([entry["X"], entry["Y"], entry["Z"]])
        assert np.allclose(point, made.body_centres[entry["label"]], atol=0.05)


def test_command_line(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "shared.phantoms.torso", "--output_dir", str(tmp_path), "--count", "1"]
    command += ["--spacing_mm", "6", "--region", "lumbar", "--seed", "2"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    assert (tmp_path / "torso_00002_ct.nii.gz").is_file() and (tmp_path / "cases.csv").is_file()
