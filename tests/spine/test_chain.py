"""Files in, files out: the transforms of the segmentation bundle with networks that read the truth out of the image."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged, SaveImaged
from PIL import Image

from bundles.vertebrae_segmentation.scripts.inferer import CropInferer
from bundles.vertebrae_segmentation.scripts.results import VertebraMasksd
from bundles.vertebrae_segmentation.scripts.transforms import VertebraCropsd
from shared.engines.batch import unfinished_cases
from shared.io.cases import find_cases
from shared.io.errors import CaseError
from shared.io.volumes import VolumeReader
from shared.io.writers import AtomicNibabelWriter
from shared.phantoms.torso.phantom import TorsoPhantom
from shared.spine.centroids import write_named_centroids
from shared.spine.labels import SPINE_NAMES
from shared.spine.spine_stage import SpineStage
from shared.spine.vertebra_stage import VertebraStage
from tests.spine.files import write_by_itk, write_dicom, write_nifti
from tests.spine.oracles import encode, phantom_centres, segmentation_oracle, spine_oracle, vertebrae_oracle

WHOLE = {"T10", "T11", "T12", "L1", "L2"}


def run_chain(path: Path, output: Path, **options: Any) -> dict[str, Any]:
    """What the evaluator does with one case."""
    crops = VertebraCropsd(
        "image", SpineStage(spine_oracle), VertebraStage(vertebrae_oracle), size=(64, 64, 48), spacing_mm=2.0,
        output_dir=output, **options,
    )  # fmt: skip
    before = Compose([LoadImaged("image", reader=VolumeReader, ensure_channel_first=True, dtype=None), crops])
    item: dict[str, Any] = before(dict(find_cases(path, "volume")[0]))
    item["pred"] = CropInferer(2)(item["image"][None], segmentation_oracle)[0]
    save = SaveImaged(
        "pred", output_dir=output, output_postfix="segmentation", output_dtype="uint8", separate_folder=False,
        resample=False, writer=AtomicNibabelWriter, print_log=False,
    )  # fmt: skip
    return Compose([VertebraMasksd("pred", output), save])(item)


@pytest.fixture(scope="module")
def truth(lower_back: TorsoPhantom) -> np.ndarray:
    """HU (X, Y, Z) int16 that carry the truth of the phantom."""
    return encode(lower_back.labels, lower_back.affine, phantom_centres(lower_back)).astype(np.int16)


WRITERS = {"nifti": write_nifti, "nrrd": write_by_itk(".nrrd"), "mha": write_by_itk(".mha"), "dicom": write_dicom}


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_same(form: str, lower_back: TorsoPhantom, truth: np.ndarray, tmp_path: Path) -> None:
    """Labels, centres in LPS mm, mask on the grid of the file, table and picture."""
    path = WRITERS[form](truth, lower_back.affine, tmp_path)
    output = tmp_path / "out"
    run_chain(path, output, save_intermediates=form == "nifti")
    document = json.loads((output / "case_landmarks.json").read_text())
    found = {mark["name"]: np.array([mark[axis] for axis in "xyz"]) for mark in document["landmarks"]}
    assert set(found) >= WHOLE and not document["level_uncertain"]
    for label, centre in lower_back.body_centres.items():
        if SPINE_NAMES[label] in WHOLE:
            assert np.linalg.norm(found[SPINE_NAMES[label]] - centre) < 1.5
    mask: Any = nib.load(output / "case_segmentation.nii.gz")
    labels = np.asarray(mask.dataobj)
    assert labels.dtype == np.uint8 and labels.shape == truth.shape
    for name in WHOLE:
        label = next(number for number, known in SPINE_NAMES.items() if known == name)
        own, other = np.argwhere(labels == label), np.argwhere(lower_back.labels == label)
        assert abs(len(own) / len(other) - 1) < 0.05
        world = own.mean(axis=0) @ mask.affine[:3, :3].T - other.mean(axis=0) @ lower_back.affine[:3, :3].T
        assert np.linalg.norm(world + mask.affine[:3, 3] - lower_back.affine[:3, 3]) < 0.5
    with open(output / "case_vertebrae.csv", newline="") as file:
        assert {row["name"] for row in csv.DictReader(file) if row["complete"] == "True"} >= WHOLE
    centroid = json.loads((output / "case_spine_centroid.json").read_text())["centroid"]
    assert abs(centroid["z"] - np.mean([c[2] for c in lower_back.body_centres.values()])) < 25
    with Image.open(output / "case_preview.png") as picture:
        assert min(picture.size) > 200
    heatmaps = {p.name for p in output.glob("intermediates/case/*")}
    assert ({"spine_heatmap.nii.gz", "L1_heatmap.nii.gz"} <= heatmaps) == (form == "nifti")
    assert not list(output.rglob(".part*"))


def test_given_landmarks_replace_the_first_stages(lower_back: TorsoPhantom, truth: np.ndarray, tmp_path: Path) -> None:
    path = write_nifti(truth, lower_back.affine, tmp_path)
    centres = phantom_centres(lower_back)
    write_named_centroids(tmp_path / "two.json", {label: centres[label] for label in (18, 20)})
    item = run_chain(path, tmp_path / "out", landmarks=tmp_path / "two.json")
    assert set(np.unique(item["pred"].numpy())) == {0, 18, 20}
    assert not (tmp_path / "out" / "case_spine_centroid.json").exists()
    for wrong, says in (
        ({20: centres[20] + [0, 0, 900.0]}, "gives L1, none of which lies in case.nii.gz"),
        (None, "no such file of landmarks"),
    ):
        file = tmp_path / "wrong.json"
        file.unlink(missing_ok=True)
        if wrong:
            write_named_centroids(file, wrong)
        with pytest.raises(Exception) as caught:
            run_chain(path, tmp_path / "out", landmarks=file)
        error = caught.value if isinstance(caught.value, CaseError) else caught.value.__cause__
        assert isinstance(error, CaseError) and says in str(error)


def test_a_batch_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    cases = [{"case": name, "image": f"{name}.nii.gz"} for name in "abc"]
    (tmp_path / "b_segmentation.nii.gz").touch()
    result = f"{tmp_path}/{{case}}_segmentation.nii.gz"
    assert [case["case"] for case in unfinished_cases(cases, result, True)] == ["a", "c"]
    assert unfinished_cases(cases, result, False) == cases
