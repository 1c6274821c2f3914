"""The pipeline from Python: what the command gives, as objects."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bundles.vertebrae_segmentation.scripts.pipeline import FullPipelinePredictor
from shared.phantoms.torso.phantom import make_torso
from shared.spine.centroids import write_named_centroids
from tests.spine.files import write_nifti
from tests.spine.oracles import phantom_centres
from tests.vertebrae_segmentation.invariance import BUNDLE

T12, L1 = 19, 20


@pytest.fixture
def bundle_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The config of the bundle names its code `scripts`, as every bundle does."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BUNDLE))
    yield
    for name in [n for n in sys.modules if n not in before and n.split(".")[0] == "scripts"]:
        del sys.modules[name]


def test_predictor(bundle_on_path: None, tmp_path: Path) -> None:
    torso = make_torso(3, (3, 3, 3), ("T11", "L2"), False, "PIR", "spine")
    centres = phantom_centres(torso)
    image = write_nifti(torso.image, torso.affine, tmp_path)
    write_named_centroids(tmp_path / "marks.json", {T12: centres[T12], L1: centres[L1]})
    result = FullPipelinePredictor(device="cpu").predict(
        image, output_dir=tmp_path / "out", landmarks=tmp_path / "marks.json"
    )
    assert set(result["landmarks"]) == {"T12", "L1"}
    assert np.allclose(result["landmarks"]["L1"], centres[L1] * [-1, -1, 1], atol=0.01)
    segmentation, ct = result["segmentation"], sitk.ReadImage(str(image))
    assert segmentation.GetSize() == ct.GetSize() and np.allclose(segmentation.GetOrigin(), ct.GetOrigin(), atol=1e-3)
    found = sitk.GetArrayFromImage(segmentation).T
    for label in (T12, L1):
        own, truth = found == label, torso.labels == label
        assert 2 * (own & truth).sum() / (own.sum() + truth.sum()) > 0.7
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "case_segmentation.nii.gz"))).T
    assert (written == found).all()
    assert result["result"]["source"] == "given landmarks"
