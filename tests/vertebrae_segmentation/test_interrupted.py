"""A batch of ten CTs is killed in the middle and goes on: nothing is lost, nothing half-written, nothing done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from shared.phantoms.torso.phantom import make_torso
from shared.spine.centroids import write_named_centroids
from tests.bundles.processes import TIMEOUT_S, bundle_command, clean_environment, run_bundle
from tests.spine.files import write_nifti
from tests.spine.oracles import phantom_centres

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "vertebrae_segmentation"
CASES, KILLED_AFTER = 10, 3
RESULTS = ("_landmarks.json", "_vertebrae.csv", "_vertebrae.json", "_preview.png", "_segmentation.nii.gz")


def test_a_killed_batch_goes_on(tmp_path: Path) -> None:
    """One vertebra per case with its landmark given, so that the cases are short."""
    torso = make_torso(3, (4, 4, 4), ("T12", "L2"), False, "RAS", "spine")
    label, centre = next((k, c) for k, c in phantom_centres(torso).items() if k == 20)
    names = [f"case{index}" for index in range(CASES)]
    cases, marks, output = (tmp_path / name for name in ("cases", "marks", "out"))
    cases.mkdir()
    marks.mkdir()
    for name in names:
        write_nifti(torso.image, torso.affine, cases, name)
        write_named_centroids(marks / f"{name}_landmarks.json", {label: centre})
    options = {"dataset_dir": cases, "landmarks": marks, "output_dir": output, "skip_done": True}
    process = subprocess.Popen(
        bundle_command(BUNDLE, "inference", options), cwd=BUNDLE, env=clean_environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while len(list(output.glob("*_segmentation.nii.gz"))) < KILLED_AFTER:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = {path: path.stat().st_mtime_ns for path in output.glob("*_segmentation.nii.gz")}
    assert KILLED_AFTER <= len(done) < CASES
    for path in done:
        assert all((output / path.name.replace("_segmentation.nii.gz", end)).is_file() for end in RESULTS)

    log = run_bundle(BUNDLE, "inference", options)
    assert f"{CASES - len(done)} of {CASES - len(done)} cases done" in log
    assert {p.name for p in output.rglob("*") if p.is_file()} == {name + end for name in names for end in RESULTS}
    assert {path: path.stat().st_mtime_ns for path in done} == done
    maps = [np.asarray(nib.nifti1.Nifti1Image.from_filename(p).dataobj) for p in output.glob("*_segmentation.nii.gz")]
    assert (maps[0] == label).sum() > 50 and all((m == maps[0]).all() for m in maps)
