"""What is no ordinary CT of a spine gets a clear result or a clear refusal, with the shipped weights, in one batch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shared.phantoms.torso.phantom import make_torso
from tests.bundles.processes import bundle_command, run
from tests.io.test_volumes import write_series
from tests.spine.files import write_nifti
from tests.vertebrae_segmentation.invariance import BUNDLE

DATA = os.environ.get("BUNDLES_DATA")
L1 = 20
# no vertebra: water, real hips; a real MR; a real and a made series with a tilted gantry; a header upside down
REFUSED = {
    "water": "shows no (spine|vertebra)",
    "upside_down": "seems to be upside down|shows no vertebra clearly",
    "tilted": "gantry tilt of",
}
REFUSED_REAL = {
    **{f"hip_{number}": "shows no (spine|vertebra)" for number in ("001", "012", "014", "023")},
    "head_tilted": "gantry tilt of 18.5",
    "head_mr": "is no CT in HU",
}


@dataclass(frozen=True)
class Batch:
    output: Path
    log: str
    code: int

    def line(self, case: str) -> str:
        lines = [line for line in re.split(r"[\r\n]+", self.log) if f"/{case}" in line]
        assert len(lines) == 1, lines
        return lines[0]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder = tmp_path_factory.mktemp("odd")
    cases, output = folder / "cases", folder / "out"
    cases.mkdir()
    torso = make_torso(3, (2, 2, 2), ("T9", "L3"), False, "RAS", "spine")
    image, affine = torso.image, torso.affine
    write_nifti(image, np.diag([1.0, 1.0, -1.0, 1.0]) @ affine, cases, "upside_down")
    slices = np.argwhere(torso.labels == L1)[:, 2]
    low, high = int(slices.min()) - 2, int(slices.max()) + 3
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, 2] * low
    write_nifti(image[:, :, low:high], shifted, cases, "one_vertebra")
    count = image.shape[2] // 3
    thick = image[:, :, : 3 * count].reshape(*image.shape[:2], count, 3).mean(axis=-1).astype(np.int16)
    coarse = affine @ np.diag([1.0, 1.0, 3.0, 1.0])
    coarse[:3, 3] = (affine @ [0, 0, 1, 1])[:3]
    write_nifti(thick, coarse, cases, "thick")
    x, y = np.meshgrid(np.arange(80) - 40, np.arange(80) - 40, indexing="ij")
    rng = np.random.default_rng(0)
    water = np.where(x**2 + y**2 < 32**2, 20.0, -1000.0)[..., None] + rng.normal(0, 15, (80, 80, 60))
    write_nifti(water.astype(np.int16), np.diag([4.0, 4.0, 4.0, 1.0]), cases, "water")
    write_series(cases / "tilted", shear=0.3)
    if DATA:
        for number in ("001", "012", "014", "023"):
            (cases / f"hip_{number}.nii.gz").symlink_to(Path(DATA) / "hips" / f"STS_{number}_CT_image.nii.gz")
        (cases / "head_tilted").symlink_to(Path(DATA) / "ct_dicom_tilted_ge")
        (cases / "head_mr.nii.gz").symlink_to(Path(DATA) / "head_neck" / "t1_whole_head.nii.gz")
    done = run(bundle_command(BUNDLE, "inference", {"dataset_dir": cases, "output_dir": output}), BUNDLE)
    return Batch(output, done.stdout, done.returncode)


def test_the_batch_is_done(batch: Batch) -> None:
    assert batch.code == 1 and "Traceback" not in batch.log
    assert {p.name.split("_segmentation")[0] for p in batch.output.glob("*_segmentation.nii.gz")} == {
        "one_vertebra",
        "thick",
    }


@pytest.mark.parametrize("case", REFUSED)
def test_refused(batch: Batch, case: str) -> None:
    assert re.search(REFUSED[case], batch.line(case))


@pytest.mark.skipif(not DATA, reason="BUNDLES_DATA names no folder of real images")
@pytest.mark.parametrize("case", REFUSED_REAL)
def test_real_ones_are_refused(batch: Batch, case: str) -> None:
    assert re.search(REFUSED_REAL[case], batch.line(case))


def test_one_vertebra_has_no_certain_level(batch: Batch) -> None:
    result = json.loads((batch.output / "one_vertebra_landmarks.json").read_text())
    assert 1 <= len(result["landmarks"]) <= 2 and result["level_uncertain"]


def test_thick_slices_are_mentioned(batch: Batch) -> None:
    result = json.loads((batch.output / "thick_landmarks.json").read_text())
    assert any("6.0 mm apart" in warning for warning in result["warnings"])
    names = [mark["index"] for mark in result["landmarks"]]
    assert len(names) >= 4 and names == sorted(names)
